#![no_main]
secure_chat_fuzz::target!(known_keys);
