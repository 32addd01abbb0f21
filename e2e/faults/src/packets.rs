//! Packet loss, by rules in a network namespace that only this process and its children have.
//!
//! A packet is lost before it reaches its receiver's socket. TCP notices, sends again, waits twice as long
//! each time, and finally gives up. Nothing outside sees the rules, and they go away with the namespace.

use std::{fmt::Write as _, process::Command};

use anyhow::{Context, Result};

use crate::command::{run, run_with};

/// Share of packets lost on the way to a server's port and on the way back, 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Loss {
    pub to_server: f64,
    pub to_client: f64,
}

/// In a new network namespace, loopback is down.
pub fn prepare() -> Result<()> {
    run(Command::new("ip").args(["link", "set", "lo", "up"]))
}

/// Loses packets to and from `port` from now on; needs [`prepare`]'s namespace.
pub fn lose(port: u16, loss: Loss) -> Result<()> {
    // Deleting a missing table is an error, so add it first.
    let table = format!("inet edge-{port}");
    let mut rules = format!("add table {table}\ndelete table {table}\n");
    if loss != Loss::default() {
        let lost = |side: &str, share: f64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
            match (share * 1_000.0).round() as u32 {
                0 => String::new(),
                some @ 1..1_000 => format!("tcp {side} {port} numgen random mod 1000 < {some} drop\n"),
                _ => format!("tcp {side} {port} drop\n"),
            }
        };
        let (there, back) = (lost("dport", loss.to_server), lost("sport", loss.to_client));
        writeln!(
            rules,
            "table {table} {{ chain input {{ type filter hook input priority filter\n{there}{back}}}\n}}"
        )?;
    }
    run_with(Command::new("nft").args(["-f", "-"]), &rules).context("losing packets needs root and nftables")
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        io::{ErrorKind, Read as _, Write as _},
        net::{TcpListener, TcpStream},
        time::Duration,
    };

    use super::*;

    const INSIDE: &str = "ROCKETMART_TEST_IN_A_NAMESPACE";
    const SOON: Duration = Duration::from_millis(100);
    /// TCP sends again after 200, 400, 800 ms …
    const SENT_AGAIN: Duration = Duration::from_secs(10);

    /// Runs one test of this module in its own namespace.
    fn in_a_namespace(test: &str) -> Result<bool> {
        if env::var_os(INSIDE).is_some() {
            prepare()?;
            return Ok(true);
        }
        let status = Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", "--"])
            .arg(env::current_exe()?)
            .args(["--exact", &format!("packets::tests::{test}")])
            .env(INSIDE, "1")
            .status()?;
        assert!(status.success());
        Ok(false)
    }

    fn heard(stream: &mut TcpStream, within: Duration) -> Result<bool> {
        stream.set_read_timeout(Some(within))?;
        match stream.read(&mut [0]) {
            Ok(bytes) => Ok(bytes == 1),
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    #[test]
    fn one_direction_is_silent_and_the_other_one_is_not_until_it_is_healed() -> Result<()> {
        if !in_a_namespace("one_direction_is_silent_and_the_other_one_is_not_until_it_is_healed")? {
            return Ok(());
        }
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let mut client = TcpStream::connect(("127.0.0.1", port))?;
        let (mut server, _) = listener.accept()?;
        for loss in [Loss { to_server: 1.0, to_client: 0.0 }, Loss { to_server: 0.0, to_client: 1.0 }] {
            lose(port, loss)?;
            client.write_all(b"?")?;
            server.write_all(b"!")?;
            assert_eq!(heard(&mut server, SOON)?, loss.to_server == 0.0);
            assert_eq!(heard(&mut client, SOON)?, loss.to_client == 0.0);
            lose(port, Loss::default())?;
            let cut_off = if loss.to_client == 0.0 { &mut server } else { &mut client };
            assert!(heard(cut_off, SENT_AGAIN)?, "what was lost was not sent again");
        }
        Ok(())
    }
}
