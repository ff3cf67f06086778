//! How `chat-server` is started, what it says, and how it ends.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests may fail loudly")]

mod common;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::modern::ModernPeer;
use common::{Peer, Server};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_chat-server")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn help_and_version_are_no_errors_and_usage_is() {
    for option in ["--help", "--version"] {
        assert_eq!(run(&[option]).status.code(), Some(0));
    }
    assert!(String::from_utf8(run(&["--help"]).stdout).unwrap().contains("CHAT_LISTEN"));
    for wrong in [&["--nonsense"][..], &["--listen", "nowhere"], &["--cert", "only-one"]] {
        assert_eq!(run(wrong).status.code(), Some(1), "{wrong:?}");
    }
}

#[test]
fn without_a_password_for_god_there_is_no_database() {
    let dir = tempfile::tempdir().unwrap();
    let ended = run(&["--data-dir", dir.path().to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8(ended.stderr).unwrap().contains("--god-password-file"));
    assert!(!dir.path().join("database.enc").exists());
}

#[test]
fn the_password_of_god_comes_from_a_file_and_options_from_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let password = dir.path().join("password");
    fs::write(&password, "from-a-file\r\nsecond line\n").unwrap();
    let server = Server::start_with(dir.path(), &["--god-password-file", password.to_str().unwrap()]);
    server.connect().asks("/login god from-a-file", "Login successful. Welcome, god!");
    let ends = |listen: &str| {
        let mut other = Command::new(env!("CARGO_BIN_EXE_chat-server"));
        other.env("CHAT_LISTEN", listen).env("CHAT_DATA_DIR", dir.path());
        other.stdin(Stdio::null()).output().unwrap().status.code()
    };
    assert_eq!(ends(&server.address.to_string()), Some(3), "the address from the environment is in use");
    assert_eq!(ends("127.0.0.1:0"), Some(1), "the folder from the environment is in use");
}

#[test]
fn an_address_in_use_is_said_before_anything_is_made_and_is_no_usage_error() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Server::start(one.path());
    let data = two.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(two.path().join("password"), "x").unwrap();
    let password = two.path().join("password");
    let ended = run(&[
        "--listen",
        &server.address.to_string(),
        "--data-dir",
        data.to_str().unwrap(),
        "--god-password-file",
        password.to_str().unwrap(),
    ]);
    assert_eq!(ended.status.code(), Some(3));
    assert!(String::from_utf8(ended.stderr).unwrap().contains("in use"));
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0, "not even a certificate");
}

/// What an environment and a command line make the server say.
fn complains(variables: &[(&str, &str)], arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-server"));
    let ended = command.envs(variables.iter().copied()).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{variables:?} {arguments:?}");
    String::from_utf8(ended.stderr).unwrap()
}

#[test]
fn a_wrong_value_is_named_with_the_variable_that_it_came_from() {
    let rooms = [("CHAT_MAX_ROOMS", "many")];
    let said = complains(&rooms, &[]);
    assert!(said.contains("'many' for '--max-rooms <N> (from CHAT_MAX_ROOMS)'"), "{said}");
    assert!(complains(&[("CHAT_REGISTRATION", "maybe")], &[]).contains("(from CHAT_REGISTRATION)"));
    for typed in [&["--max-rooms", "many"][..], &["--max-rooms=many"]] {
        assert!(!complains(&rooms, typed).contains("CHAT_MAX_ROOMS"), "it was typed");
    }
    let mut client = Command::new(env!("CARGO_BIN_EXE_chat-client"));
    let said = client.env("CHAT_SERVER", "a b").stdin(Stdio::null()).output().unwrap();
    assert_eq!(said.status.code(), Some(1));
    assert!(String::from_utf8(said.stderr).unwrap().contains("(from CHAT_SERVER)"));
}

#[test]
fn the_variables_of_serving_are_none_of_a_subcommand() {
    let dir = tempfile::tempdir().unwrap();
    let said = complains(&[("CHAT_MAX_ROOMS", "many")], &["check", "--data-dir", dir.path().to_str().unwrap()]);
    assert!(said.contains(dir.path().to_str().unwrap()) && !said.contains("many"), "{said}");
}

#[test]
fn what_stands_in_the_wrong_place_is_said_with_the_right_one() {
    let said = complains(&[], &["--data-dir", "x", "check"]);
    assert!(said.contains("put it behind: chat-server check --data-dir <DIR>"), "{said}");
    assert!(
        !complains(&[], &["--listen", "127.0.0.1:1", "check"]).contains("put it behind"),
        "check has no such option"
    );
    let said = complains(&[], &["--listen", "localhost:1"]);
    assert!(said.contains("an IP address and a port, such as 127.0.0.1:12345"), "{said}");
}

#[test]
fn a_message_of_the_day_comes_from_the_command_line_or_from_a_file_and_reaches_no_terminal_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("motd");
    fs::write(&file, "two\nlines\x1b[31m\n").unwrap();
    for (arguments, shown) in [
        (&["--motd", " Be kind. "][..], Some("Be kind.")),
        (&["--motd-file", file.to_str().unwrap()], Some("two lines[31m")),
        (&["--motd", ""], None),
        (&[], None),
    ] {
        let server = Server::start_with(dir.path(), arguments);
        let hello = ModernPeer::connect(server.address).hears_hello();
        assert_eq!(hello.motd.as_ref().map(|motd| motd.as_str()), shown);
    }
}

#[test]
fn a_message_of_the_day_that_is_too_long_or_cannot_be_read_is_said_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let (long, data) = (dir.path().join("long"), dir.path().join("data"));
    fs::create_dir(&data).unwrap();
    fs::write(&long, "ö".repeat(512) + "x").unwrap();
    let missing = dir.path().join("missing");
    for (arguments, why) in [
        (["--motd", &"x".repeat(1025)], "more than 1024 bytes"),
        (["--motd-file", long.to_str().unwrap()], "more than 1024 bytes"),
        (["--motd-file", missing.to_str().unwrap()], "missing"),
    ] {
        let common = ["--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()];
        let ended = run(&[&common[..], &arguments[..]].concat());
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1));
        assert!(said.contains("the message of the day") && said.contains(why), "{said}");
        assert_eq!(fs::read_dir(&data).unwrap().count(), 0, "not even a certificate");
    }
    assert_eq!(run(&["--motd", "a", "--motd-file", "b"]).status.code(), Some(1));
}

#[test]
fn its_realm_stays_when_its_certificate_changes() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (realm, fingerprint) = (server.realm.clone(), server.fingerprint.clone());
    assert!(realm.starts_with("ed25519:") && realm.len() == "ed25519:".len() + 44, "{realm}");
    assert_eq!(server.stop(), 0);
    fs::remove_dir_all(dir.path().join("certs")).unwrap();
    let server = Server::start(dir.path());
    assert_ne!(server.fingerprint, fingerprint);
    assert_eq!(server.realm, realm);
}

#[test]
fn its_certificate_stays_and_openssl_gives_the_same_fingerprint() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let fingerprint = server.fingerprint.clone();
    assert_eq!(server.stop(), 0);
    assert_eq!(Server::start(dir.path()).fingerprint, fingerprint);
    let line = "openssl x509 -in certs/server.crt -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | openssl base64";
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    assert!(readme.contains(line), "the README has another line");
    let output = Command::new("sh").args(["-c", line]).current_dir(dir.path()).output().unwrap();
    assert_eq!(format!("SHA256:{}", String::from_utf8(output.stdout).unwrap().trim()), fingerprint);
    for secret in ["certs/server.key", "db_key.bin", "database.enc", "database.journal", "public_keys.log"] {
        assert_eq!(mode(&dir.path().join(secret)), 0o600, "{secret}");
    }
}

#[test]
fn a_certificate_in_the_data_folder_or_named_is_used_and_a_wrong_key_is_said() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = Server::start(old.path());
    for file in ["server.crt", "server.key"] {
        fs::copy(old.path().join("certs").join(file), new.path().join(file)).unwrap();
    }
    let moved = Server::start(new.path());
    assert_eq!(moved.fingerprint, first.fingerprint);
    let other = tempfile::tempdir().unwrap();
    let second = Server::start(other.path());
    assert_ne!(second.fingerprint, first.fingerprint);
    let (crt, key) = (old.path().join("certs/server.crt"), other.path().join("certs/server.key"));
    let third = tempfile::tempdir().unwrap();
    let Err(log) = Server::try_start(third.path(), &["--cert", crt.to_str().unwrap(), "--key", key.to_str().unwrap()])
    else {
        panic!("a key of another certificate was taken")
    };
    assert!(log.contains("exit status: 1") && log.contains("server.crt"), "{log}");
}

#[test]
fn one_socket_serves_ipv4_and_ipv6() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("password"), "x").unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_chat-server"));
    server.args(["--listen", "[::]:0", "--data-dir"]).arg(dir.path()).arg("--god-password-file");
    let server = common::programs::Program::start(server.arg(dir.path().join("password")));
    let port = server.shows("Listening on ").rsplit(':').next().unwrap().parse().unwrap();
    for ip in ["127.0.0.1", "::1"] {
        let mut peer = Peer::connect(SocketAddr::new(ip.parse().unwrap(), port));
        peer.asks("/list", "You must /login first.");
    }
}

#[test]
fn signals_end_it_in_order() {
    for signal in ["INT", "TERM"] {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Server::start(dir.path());
        let mut peer = server.user("alice");
        let mut modern = ModernPeer::connect(server.address);
        modern.hears_hello();
        let silent = std::net::TcpStream::connect(server.address).unwrap();
        server.signal(signal);
        assert_eq!(peer.hears(), "The server is shutting down.");
        assert_eq!(peer.hears_or_end(), None);
        assert!(modern.hears().contains(r#""reason":"shutting_down""#));
        assert_eq!(modern.hears_or_end(), None);
        assert_eq!(server.child.wait().unwrap().code(), Some(0), "{}", server.log());
        drop(silent);
        assert!(server.log().contains("ended"), "{}", server.log());
    }
}

#[test]
fn a_disk_that_is_full_changes_nothing_and_ends_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    drop(server.user("alice"));
    assert_eq!(server.stop(), 0);
    let server = Server::start_on_full_disk(dir.path());
    let mut alice = server.connect();
    alice.asks("/login alice pw", "Login successful. Welcome, alice!");
    let not_saved = "Error: the server could not save the change, so nothing was changed. Try again later.";
    alice.asks("/create den pw", not_saved);
    alice.asks("/list", "No rooms found.");
    assert_eq!(server.log(), "", "there is no place for a log either");
    assert_eq!(server.stop(), 0);
    Server::start(dir.path()).connect().asks("/login alice pw", "Login successful. Welcome, alice!");
}

/// Whether a process that ends by SIGABRT, started so, leaves a core dump.
fn dumps_core(program: &str, arguments: &[&str], dir: &Path) -> bool {
    use std::os::unix::process::ExitStatusExt;
    let shell = "ulimit -c unlimited; exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", shell, program]).args(arguments).current_dir(dir);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut first = [0];
    std::io::Read::read_exact(&mut child.stdout.take().unwrap(), &mut first).unwrap(); // it has begun
    let killed = Command::new("kill").args(["-ABRT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    child.wait().unwrap().core_dumped()
}

#[test]
fn a_crash_leaves_no_secrets_in_a_core_dump_unless_that_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let password = dir.path().join("password");
    fs::write(&password, "godpw\n").unwrap();
    let arguments = ["--listen", "127.0.0.1:0", "--god-password-file", password.to_str().unwrap()];
    let server = env!("CARGO_BIN_EXE_chat-server");
    assert!(!dumps_core(server, &arguments, dir.path()));
    // Where this machine keeps core dumps at all, the option brings them back.
    if dumps_core("sh", &["-c", "echo; while :; do :; done"], dir.path()) {
        assert!(dumps_core(server, &[&arguments[..], &["--core-dumps"]].concat(), dir.path()));
    }
}

#[test]
fn keys_that_others_can_read_are_closed_to_them_at_a_start() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Server::start(dir.path()).stop(), 0);
    let keys = ["db_key.bin", "certs/server.key"].map(|name| dir.path().join(name));
    for key in &keys {
        fs::set_permissions(key, PermissionsExt::from_mode(0o644)).unwrap(); // as the Python scripts leave them
    }
    let server = Server::start(dir.path());
    for key in &keys {
        assert_eq!(mode(key), 0o600);
        server.wait_for_log(&format!(
            "this key was open to others: now its owner alone can read it (mode 0600) key={}",
            key.display()
        ));
    }
    assert_eq!(server.stop(), 0);
    // What is named may be shared on purpose.
    let named = dir.path().join("named.key");
    fs::copy(&keys[1], &named).unwrap();
    fs::set_permissions(&named, PermissionsExt::from_mode(0o640)).unwrap();
    let certificate = dir.path().join("certs/server.crt");
    let named_files = ["--cert", certificate.to_str().unwrap(), "--key", named.to_str().unwrap()];
    let server = Server::start_with(dir.path(), &named_files);
    server.wait_for_log("this key is open to others");
    assert_eq!(mode(&named), 0o640);
}

#[test]
fn nobody_else_can_read_what_the_server_writes() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.user("alice");
    assert_eq!(server.stop(), 0);
    let mut looked_at = 0;
    for folder in [dir.path().to_owned(), dir.path().join("certs")] {
        for entry in fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.file_name() != "server.log") {
            assert_eq!(mode(&entry.path()) & 0o077, 0, "{}", entry.path().display());
            looked_at += 1;
        }
    }
    assert!(looked_at >= 6, "{looked_at}");
}
