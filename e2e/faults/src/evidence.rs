//! What a failed run leaves behind: the logs of all processes, and the databases as they are.

use std::{fs, io, path::Path};

use anyhow::{Context, Result};
use rocketmart_harness::stack::Backing;

use crate::world::World;

const FOLDER: &str = "evidence";

/// Copies everything into `evidence` below the run's folder.
pub(crate) fn keep(world: &World, run: &Path) -> Result<()> {
    let folder = run.join(FOLDER);
    fs::create_dir_all(&folder)?;
    world.with_stack(|stack| {
        for file in fs::read_dir(stack.folder())? {
            let file = file?;
            if file.path().extension().is_some_and(|extension| extension == "log") {
                fs::copy(file.path(), folder.join(file.file_name()))?;
            }
        }
        for database in Backing::databases() {
            stack.backing.postgres.dump(database, &folder.join(database))?;
        }
        Ok(())
    })
}

/// Removes what an earlier run of this name left.
pub(crate) fn clear(run: &Path) -> Result<()> {
    match fs::remove_dir_all(run.join(FOLDER)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("clearing {}", run.display()))
        }
        _ => Ok(()),
    }
}
