#![no_main]
secure_chat_fuzz::target!(signed_bytes);
