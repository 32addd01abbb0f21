//! `cargo xtask forward [PORT]`: a loopback port of this machine leads to the node's entrance, for a browser.
//! Nothing else leads into the node's network namespace.
//!
//! A socket belongs to the namespace it was made in, wherever it is used. So we bind it out here and hand it
//! to a child inside as its standard input. The child accepts connections on it and connects each to the
//! entrance in there.

use std::{
    io,
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::{AsFd as _, OwnedFd},
    thread,
};

use anyhow::{Context as _, Result, bail};
use rocketmart_harness::node::Node;

/// The command of the child inside; nobody types it.
pub(crate) const INSIDE: &str = "forward-inside";
const PORT: u16 = 8080;
const ENTRANCE: &str = "127.0.0.1:80";

/// Forwards until Ctrl-C.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let port = match arguments {
        [] => PORT,
        [port] => port.parse().with_context(|| format!("`{port}` is no port"))?,
        _ => bail!("forward takes one port"),
    };
    let node = Node::running()?;
    let cluster = node.cluster();
    let listener = TcpListener::bind(("127.0.0.1", port)).with_context(|| format!("port {port}"))?;
    println!(
        "http://shop.rocketmart.local:{port} leads to the shop, once /etc/hosts has
    127.0.0.1 shop.rocketmart.local
Ctrl-C ends it."
    );
    let status =
        cluster.command(std::env::current_exe()?).arg(INSIDE).stdin(OwnedFd::from(listener)).status()?;
    bail!("forwarding ended with {status}")
}

/// The child: accepts connections on its standard input.
pub(crate) fn inside() -> Result<()> {
    let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    for outside in listener.incoming() {
        let outside = outside?;
        thread::spawn(move || {
            // A failed connection concerns nobody else; the browser sees it closed.
            if let Err(error) = connect(&outside) {
                eprintln!("{ENTRANCE}: {error}");
            }
        });
    }
    Ok(())
}

fn connect(outside: &TcpStream) -> io::Result<()> {
    let inside = TcpStream::connect(ENTRANCE)?;
    thread::scope(|scope| {
        scope.spawn(|| pass(outside, &inside));
        scope.spawn(|| pass(&inside, outside));
    });
    Ok(())
}

/// Copies one direction and passes its end on, so that both directions close one after the other.
fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
