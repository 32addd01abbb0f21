//! Java programs from Maven Central: the jars of a `pom.xml`, cached by the file's content.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::Result;

use crate::{cache, command, step};

/// The folder with all jars of `e2e/node-binaries/<program>/pom.xml`, fetched at first use.
pub fn libraries(program: &str) -> Result<PathBuf> {
    let pom =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../node-binaries").join(program).join("pom.xml");
    let key = cache::key_of_files(std::slice::from_ref(&pom))?;
    cache::entry(&format!("{program}-libraries"), &key, |into| {
        step::step(&format!("Fetch {program}'s libraries (Maven)"), || {
            command::run(
                Command::new("mvn")
                    .args(["--batch-mode", "--quiet", "--file"])
                    .arg(&pom)
                    .arg("dependency:copy-dependencies")
                    .arg(format!("-DoutputDirectory={}", into.display())),
                &cache::root().join("logs").join(format!("{program}-libraries.log")),
                Duration::from_mins(10),
            )
        })
    })
}
