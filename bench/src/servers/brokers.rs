//! nats-server and mosquitto.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::Site;

pub(super) fn nats(program: &Path, site: &Site) -> Result<Command> {
    site.certify()?;
    let config = format!(
        r#"listen: "127.0.0.1:{port}"
max_connections: 100000
max_pending: 256MB
write_deadline: "30s"
max_control_line: 4096
logfile: "{log}"
tls {{
  cert_file: "{certificate}"
  key_file: "{key}"
  timeout: 30
}}
"#,
        port = site.port,
        log = site.text("nats.log"),
        certificate = site.text("server.crt"),
        key = site.text("server.key"),
    );
    let mut command = Command::new(program);
    command.arg("--config").arg(site.write("nats.conf", &config)?);
    Ok(command)
}

pub(super) fn mosquitto(program: &Path, site: &Site) -> Result<Command> {
    site.certify()?;
    // Otherwise, started by root, it becomes a user who cannot read the certificate.
    let user = if rustix::process::getuid().is_root() { "user root\n" } else { "" };
    let config = format!(
        "{user}listener {port} 127.0.0.1
certfile {certificate}
keyfile {key}
allow_anonymous true
max_connections -1
max_queued_messages 0
max_queued_bytes 0
set_tcp_nodelay true
persistence false
sys_interval 0
log_type error
log_type warning
",
        port = site.port,
        certificate = site.text("server.crt"),
        key = site.text("server.key"),
    );
    let mut command = Command::new(program);
    command.arg("-c").arg(site.write("mosquitto.conf", &config)?);
    Ok(command)
}
