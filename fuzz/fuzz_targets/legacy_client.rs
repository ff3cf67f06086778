#![no_main]
secure_chat_fuzz::target!(legacy_client);
