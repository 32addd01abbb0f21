//! `cargo xtask dev`, ended the way a person ends it.

use std::{fs, path::Path, process::Command, time::Duration};

use rocketmart_harness::{command::Logged, process, programs, step};

const LIMIT: Duration = Duration::from_mins(4);

/// W1
#[test]
fn ctrl_c_on_dev_ends_every_process_and_leaves_no_folder() {
    let folder = process::scratch("dev").unwrap();
    let (temporary, log) = (folder.join("tmp"), folder.join("dev.log"));
    fs::create_dir(&temporary).unwrap();
    let xtask = programs::beside_this_one("xtask").unwrap();
    // It builds what it starts. It does so where this test was built, so that nothing is left to do.
    let target = xtask.parent().and_then(Path::parent).unwrap();
    let mut dev = Command::new(&xtask);
    dev.arg("dev").env("TMPDIR", &temporary).env("CARGO_TARGET_DIR", target);
    let mut dev = Logged::spawn(&mut dev, &log).unwrap();
    let printed = || fs::read_to_string(&log).unwrap_or_default();
    step::wait_until("everything to run", LIMIT, || printed().contains("Everything runs")).unwrap();
    assert!(fs::read_dir(&temporary).unwrap().count() > 0, "its folders are where this test looks");

    dev.signal("INT").unwrap();
    let status = dev.wait_for(LIMIT).unwrap().expect("an end");
    assert!(status.success(), "{status}: {}", printed());
    let left: Vec<_> = fs::read_dir(&temporary).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
    let running = Command::new("pgrep").arg("--full").arg(&temporary).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&running.stdout), "", "processes that know the folder still run");
    fs::remove_dir_all(folder).unwrap();
}
