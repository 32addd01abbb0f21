//! The cache outside the checkout: `~/.cache/rocketmart/<kind>/<key>`.
//!
//! A key is a digest of what an entry was built from (versions, input files). So an entry never goes stale: a
//! change makes another key. An entry is built under a temporary name and renamed when it is complete, so an
//! interrupted build leaves nothing that looks finished.

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};

/// The root of the cache; `ROCKETMART_CACHE` overrides `~/.cache/rocketmart`.
pub fn root() -> PathBuf {
    if let Some(dir) = std::env::var_os("ROCKETMART_CACHE") {
        return dir.into();
    }
    let home = std::env::var_os("HOME").map_or_else(|| "/root".into(), PathBuf::from);
    home.join(".cache/rocketmart")
}

/// A digest of the given parts, stable between runs of one toolchain; 16 hexadecimal digits.
pub fn key<P: Hash>(parts: &[P]) -> String {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// A digest of the files' contents, in the given order.
pub fn key_of_files(files: &[PathBuf]) -> Result<String> {
    let contents = files
        .iter()
        .map(|file| fs::read(file).with_context(|| format!("reading {}", file.display())))
        .collect::<Result<Vec<_>>>()?;
    Ok(key(&contents))
}

/// The entry `kind/key`. If it does not exist yet, `build` makes it in the directory that it gets.
pub fn entry(kind: &str, key: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let finished = root().join(kind).join(key);
    // Threads of one process would share the partial entry. The second one waits and finds it finished.
    let turn = turn_at(&finished);
    let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
    if finished.exists() {
        return Ok(finished);
    }
    let partial = root().join(kind).join(format!(".{key}.{}", std::process::id()));
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial).with_context(|| format!("making {}", partial.display()))?;
    if let Err(error) = build(&partial) {
        // The remains would only take up space: nothing ever looks at a partial entry again.
        let _ = fs::remove_dir_all(&partial);
        return Err(error);
    }
    match fs::rename(&partial, &finished) {
        Ok(()) => Ok(finished),
        // Another process finished the same entry first; both are equal.
        Err(_) if finished.exists() => {
            fs::remove_dir_all(&partial)?;
            Ok(finished)
        }
        Err(error) => Err(error).with_context(|| format!("finishing {}", finished.display())),
    }
}

/// The lock of one entry. Each has its own, because building one may need another.
fn turn_at(entry: &Path) -> Arc<Mutex<()>> {
    static TURNS: Mutex<BTreeMap<PathBuf, Arc<Mutex<()>>>> = Mutex::new(BTreeMap::new());
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(turns.entry(entry.to_owned()).or_default())
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn a_key_depends_on_every_part_and_on_their_order() {
        assert_eq!(key(&["a", "b"]), key(&["a", "b"]));
        assert_ne!(key(&["a", "b"]), key(&["b", "a"]));
        assert_ne!(key(&["ab", ""]), key(&["a", "b"]));
    }

    #[test]
    fn threads_that_want_the_same_entry_build_it_once() -> Result<()> {
        let (kind, built) = ("test", std::sync::atomic::AtomicUsize::new(0));
        let key = format!("entry-{}", std::process::id());
        let make = || {
            entry(kind, &key, |into| {
                built.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                std::thread::sleep(std::time::Duration::from_millis(50));
                Ok(fs::write(into.join("file"), "whole")?)
            })
        };
        let found = std::thread::scope(|scope| {
            [scope.spawn(make), scope.spawn(make)].map(std::thread::ScopedJoinHandle::join)
        });
        let [Ok(Ok(one)), Ok(Ok(other))] = found else { bail!("{found:?}") };
        assert_eq!((built.into_inner(), fs::read_to_string(one.join("file"))?), (1, "whole".to_owned()));
        fs::remove_dir_all(other)?;
        Ok(())
    }
}
