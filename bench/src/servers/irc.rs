//! ngircd and inspircd.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Site, free_port};

pub(super) fn ngircd(program: &Path, site: &Site) -> Result<Command> {
    site.certify()?;
    // Started by root it changes its user anyway; that one must still be able to read the certificate.
    let user = if rustix::process::getuid().is_root() { "ServerUID = root\nServerGID = root\n" } else { "" };
    let config = format!(
        "[Global]
Name = irc.bench.test
Info = benchmark
Listen = 127.0.0.1
Ports = {clear}
MotdPhrase = benchmark
{user}
[Limits]
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = 0
MaxListSize = 0
MaxPenaltyTime = 0
PingTimeout = 600
[Options]
DNS = no
Ident = no
PAM = no
[SSL]
CertFile = {certificate}
KeyFile = {key}
Ports = {port}
",
        clear = free_port()?,
        port = site.port,
        certificate = site.text("server.crt"),
        key = site.text("server.key"),
    );
    let mut command = Command::new(program);
    command.arg("--nodaemon").arg("--config").arg(site.write("ngircd.conf", &config)?);
    Ok(command)
}

pub(super) fn inspircd(program: &Path, site: &Site) -> Result<Command> {
    site.certify()?;
    let config = format!(
        r#"<config format="xml">
<server name="irc.bench.test" description="benchmark" network="Bench" id="1BN">
<admin name="bench" email="bench@bench.test" nick="bench">
<path configdir="{dir}" datadir="{dir}" logdir="{dir}" runtimedir="{dir}">
<pid file="{dir}/inspircd.pid">
<module name="ssl_gnutls">
<sslprofile name="bench" provider="gnutls" certfile="{certificate}" keyfile="{key}">
<bind address="127.0.0.1" port="{port}" type="clients" sslprofile="bench">
<connect name="bench" allow="*" timeout="60" pingfreq="600" hardsendq="256M" softsendq="256M" recvq="4M"
  threshold="100000" commandrate="1000000000" fakelag="no" localmax="100000" globalmax="100000" maxconnwarn="no"
  resolvehostnames="no" limit="100000">
<performance softlimit="100000" somaxconn="1024" clonesonconnect="no" timeskipwarn="60s">
<options announcets="no">
<log method="file" type="* -USERINPUT -USEROUTPUT" level="default" target="{dir}/inspircd.log">
"#,
        dir = site.dir.path().display(),
        port = site.port,
        certificate = site.text("server.crt"),
        key = site.text("server.key"),
    );
    let mut command = Command::new(program);
    command.arg("--nofork").arg("--config").arg(site.write("inspircd.conf", &config)?);
    if rustix::process::getuid().is_root() {
        command.arg("--runasroot");
    }
    Ok(command)
}
