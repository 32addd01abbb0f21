//! A small disk for Redis alone: an ext4 image on a loop device, mounted where only this process and its
//! children see it.
//!
//! It can be full, and it can lose power. What a program wrote and did not fsync is in the page cache of the
//! mounted file system and not yet in the image. So the image at any moment is what a disk holds after a
//! power cut at that moment. (A SIGKILL loses nothing that was written, fsynced or not, so it says nothing
//! about fsync.)

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use rocketmart_harness::process;

use crate::command::run;

const SIZE_MB: u32 = 96;
/// The file that fills the disk.
const BALLAST: &str = "ballast";

/// A mounted disk. Dropping it unmounts and removes it; if the process is gone, the kernel does.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    image: PathBuf,
    power_cuts: u32,
}

impl Disk {
    /// Needs root and a mount namespace of its own (see `main.rs`).
    pub fn mount() -> Result<Self> {
        let folder = process::scratch("disk")?;
        let image = folder.join("image-0");
        run(Command::new("truncate").args(["-s", &format!("{SIZE_MB}M")]).arg(&image))?;
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0", "-E", "lazy_itable_init=0"]).arg(&image))?;
        let disk = Self { folder, image, power_cuts: 0 };
        fs::create_dir(disk.root())?;
        disk.attach()?;
        fs::create_dir(disk.data())?;
        Ok(disk)
    }

    /// The folder where a server keeps its data.
    pub fn data(&self) -> PathBuf {
        self.root().join("data")
    }

    fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// Fills the disk to the last byte.
    pub fn fill(&self) -> Result<()> {
        // It ends with an error on purpose: no space left.
        let _ = Command::new("dd")
            .args(["if=/dev/zero", "bs=64k", "status=none"])
            .arg(format!("of={}", self.root().join(BALLAST).display()))
            .output()?;
        Ok(())
    }

    pub fn make_room(&self) -> Result<()> {
        Ok(fs::remove_file(self.root().join(BALLAST))?)
    }

    /// What the disk would hold if power failed now. Whoever writes to it must have been stopped already.
    pub fn photograph(&self) -> Result<PathBuf> {
        let photograph = self.folder.join(format!("image-{}", self.power_cuts + 1));
        run(Command::new("cp").arg("--sparse=always").arg(&self.image).arg(&photograph))?;
        Ok(photograph)
    }

    /// Goes back to a photograph. No file may be open.
    pub fn power_up(&mut self, photograph: PathBuf) -> Result<()> {
        run(Command::new("umount").arg(self.root()))?;
        fs::remove_file(&self.image)?;
        self.image = photograph;
        self.power_cuts += 1;
        self.attach()
    }

    fn attach(&self) -> Result<()> {
        run(Command::new("mount").args(["-o", "loop,noatime"]).arg(&self.image).arg(self.root()))
            .context("mounting an image needs root and a loop device")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.root()).output();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What a crash in the middle of a write leaves at the end of an append-only file: half a command, correct as
/// far as it goes. (A length that does not fit its text would be damage, and Redis would refuse to start.)
pub fn tear_tail(redis: &Path) -> Result<()> {
    use std::io::Write as _;
    let newest = fs::read_dir(redis.join("appendonlydir"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(".incr.aof"))
        .max()
        .context("Redis has no append-only file")?;
    let mut file = fs::OpenOptions::new().append(true).open(newest)?;
    Ok(file.write_all(b"*3\r\n$4\r\nHSET\r\n$10\r\nunfi")?)
}
