//! docs/tour.md, as somebody would paste it: its shell blocks run from top to bottom (K16).
//!
//! Blocks marked `sh node` need a cluster; without one, the blocks marked `sh dev` take their place.

use std::{path::Path, process::Command, time::Duration};

use rocketmart_harness::{command, documents, process};
use rocketmart_shop::{Place, Sales, Shop};

const LIMIT: Duration = Duration::from_mins(5);

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_tour_does_what_it_says() {
    let place = Shop::open().await.place;
    tokio::task::spawn_blocking(move || take(&place)).await.expect("no panic");
}

fn take(place: &Place) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/tour.md");
    let page = std::fs::read_to_string(page).expect("the tour");
    let here = match place.sales {
        Sales::InternalApi { .. } => "sh dev",
        Sales::Operator { .. } => "sh node",
    };
    let script = format!("set -euo pipefail\n{}", commands(&page, here));
    let folder = process::scratch("tour").expect("a folder");
    let log = folder.join("tour.log");
    let mut shell = Command::new("bash");
    shell
        .args(["-x", "-c", &script])
        .current_dir(&folder)
        .env("SHOP", &place.entrance)
        .env("MAIL", &place.mail)
        .env("PROVIDER", &place.provider);
    // On a cluster, the environment that names the shop also has what else the page needs.
    if let Sales::InternalApi { order, .. } = &place.sales {
        shell.env("ORDER_URL", order);
    }
    command::run(&mut shell, &log, LIMIT).expect("the tour goes through");
    std::fs::remove_dir_all(folder).expect("the folder is ours");
}

/// The shell commands of all blocks that are for `here` or for everywhere.
fn commands(page: &str, here: &str) -> String {
    let blocks = documents::blocks(page).into_iter();
    blocks.filter(|block| block.kind == "sh" || block.kind == here).map(|block| block.text).collect()
}

#[test]
fn only_the_blocks_of_this_place_are_run() {
    let page = "text\n```sh\na\n```\n```sh dev\nb\n```\n```sh node\nc\n```\n```text\nd\n```\n";
    assert_eq!(commands(page, "sh dev"), "a\nb\n");
    assert_eq!(commands(page, "sh node"), "a\nc\n");
}
