//! Container images without Docker. A base image is made from Debian's packages. Buildah builds the ordinary
//! Containerfiles of `images/` on it, into archives that containerd imports.
//!
//! A Containerfile copies what it needs from outside (binaries, jars) from a *named context* (`COPY
//! --from=binaries`). Here that is a folder that the other steps made. The same files build with `docker
//! buildx build --build-context binaries=DIR`; ours also has a stage of that name which compiles from source.
//! README.md has the lines for Docker, and a test compares them with what is built here.
//!
//! An archive's key covers the base, the Containerfile's folder and the content of every context. So an image
//! is built again exactly when something in it changed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};

use super::{
    base::{self, buildah},
    checkout, envoy,
    go::Contour,
    log,
};
use crate::{
    cache, command, maven,
    programs::{Programs, Speed},
    step,
};

const LIMIT: Duration = Duration::from_mins(20);
const KEPT_BESIDES_NEWEST: usize = 1;
/// A fixed name. A running container keeps the binary it was started from, and a restarted pod takes what was
/// imported last.
const ROCKETMART: &str = "docker.io/library/rocketmart:dev";

/// The programs in our image: the shop and its operator, and the shoppers and the checker of a demo.
const OUR_PROGRAMS: [&str; 4] =
    ["rocketmart", "rocketmart-operator", "rocketmart-loadtest", "rocketmart-checker"];

/// An image in a file that containerd can import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The full name, e.g. `docker.io/library/redis:7`.
    pub name: String,
    /// A `docker-archive`; its path changes when its content does.
    pub archive: PathBuf,
}

/// With Docker its Containerfile compiles our programs, so the whole checkout is its context.
const COMPILED: &str = "rocketmart";

/// A folder of `images/`, and the contexts that its Containerfile copies from.
struct Recipe {
    folder: &'static str,
    name: String,
    contexts: Vec<(&'static str, PathBuf)>,
}

/// The images of the node itself and of its ingress.
pub(super) fn of_the_node(kubernetes: &Path, contour: &Contour) -> Result<Vec<Image>> {
    let recipes = [
        Recipe {
            folder: "pause",
            name: "registry.k8s.io/pause:3.10".to_owned(),
            contexts: vec![("binaries", pause_binary()?)],
        },
        Recipe {
            folder: "coredns",
            name: "docker.io/coredns/coredns:1.13.2".to_owned(),
            contexts: vec![("binaries", only(kubernetes, "coredns")?)],
        },
        // Contour's own manifests use these two names.
        Recipe {
            folder: "contour",
            name: "ghcr.io/projectcontour/contour:v1.33.8".to_owned(),
            contexts: vec![("binaries", only(contour.binaries(), "contour")?)],
        },
        Recipe {
            folder: "envoy",
            name: "docker.io/envoyproxy/envoy:distroless-v1.38.9".to_owned(),
            contexts: vec![("binaries", envoy::binary()?)],
        },
    ];
    recipes.iter().map(Recipe::build).collect()
}

/// The images of the backing services.
pub(super) fn of_the_backing_services() -> Result<Vec<Image>> {
    backing_services(maven::libraries("kafka")?).iter().map(Recipe::build).collect()
}

fn backing_services(kafka: PathBuf) -> [Recipe; 3] {
    [
        Recipe { folder: "redis", name: "docker.io/library/redis:7".to_owned(), contexts: vec![] },
        Recipe { folder: "postgres", name: "docker.io/library/postgres:15".to_owned(), contexts: vec![] },
        Recipe {
            folder: "kafka",
            name: "docker.io/library/kafka:4.1.1".to_owned(),
            contexts: vec![("libraries", kafka)],
        },
    ]
}

/// The image of Cassandra; only a shop that keeps its catalog there needs it.
pub fn cassandra_image() -> Result<Image> {
    let libraries = maven::libraries("cassandra")?;
    Recipe {
        folder: "cassandra",
        name: "docker.io/library/cassandra:5.0.5".to_owned(),
        contexts: vec![("libraries", libraries)],
    }
    .build()
}

/// The image with all of our own programs, as cargo builds them now.
pub fn rocketmart_image(speed: Speed) -> Result<Image> {
    let programs = step::step("Build our own programs", || Programs::build(speed))?;
    let programs = OUR_PROGRAMS.map(|name| programs.program(name).map(Path::to_owned));
    let programs = programs.into_iter().collect::<Result<Vec<_>>>()?;
    let binaries = cache::entry("rocketmart-binaries", &cache::key_of_files(&programs)?, |into| {
        // Most of a binary is debug information. Symbols stay, so that a panic names functions.
        programs.iter().try_for_each(|program| {
            let name = program.file_name().context("a program without a name")?;
            command::run(
                Command::new("strip").arg("--strip-debug").arg("-o").arg(into.join(name)).arg(program),
                &log("strip"),
                LIMIT,
            )
        })
    })?;
    forget_older("rocketmart-binaries", &binaries)?;
    rocketmart(binaries).build()
}

fn rocketmart(binaries: PathBuf) -> Recipe {
    Recipe { folder: COMPILED, name: ROCKETMART.to_owned(), contexts: vec![("binaries", binaries)] }
}

impl Recipe {
    fn build(&self) -> Result<Image> {
        let folder = checkout().join("images").join(self.folder);
        let kind = format!("image-{}", self.folder);
        let archive = cache::entry(&kind, &self.key(&folder)?, |into| {
            let base = base::root_file_system()?;
            step::step(&format!("Build image {}", self.name), || {
                if base_of(&folder)? == base::NAME {
                    base::load(&base)?;
                }
                command::run(&mut self.build_command(&folder), &log(&kind), LIMIT)?;
                push(&self.name, &into.join("image.tar"))
            })
        })?;
        forget_older(&kind, &archive)?;
        Ok(Image { name: self.name.clone(), archive: archive.join("image.tar") })
    }

    /// A context counts by its path: it is in the cache, under a key of its content.
    fn key(&self, folder: &Path) -> Result<String> {
        let mut parts = vec![self.name.clone(), cache::key_of_files(&files_of(folder)?)?];
        if base_of(folder)? == base::NAME {
            parts.push(base::key());
        }
        for (name, context) in &self.contexts {
            parts.push(format!("{name}={}", context.display()));
        }
        Ok(cache::key(&parts))
    }

    fn build_command(&self, folder: &Path) -> Command {
        let mut command = buildah();
        command.args(["build", "--pull=never", "--tag", &self.name]);
        for (name, context) in &self.contexts {
            command.arg("--build-context").arg(format!("{name}={}", context.display()));
        }
        command.arg("--file").arg(folder.join("Containerfile"));
        command.arg(if self.folder == COMPILED { checkout() } else { folder.to_owned() });
        command
    }
}

/// Writes an image to an archive and forgets it, so that only the base stays in the store.
fn push(name: &str, archive: &Path) -> Result<()> {
    let target = format!("docker-archive:{}:{name}", archive.display());
    command::run(buildah().args(["push", "--quiet", name, &target]), &log("image-push"), LIMIT)?;
    command::run(buildah().args(["rmi", name]), &log("image-remove"), LIMIT)
}

/// The image that a Containerfile's last stage starts from.
fn base_of(folder: &Path) -> Result<String> {
    let path = folder.join("Containerfile");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let last = text.lines().rev().find_map(|line| line.strip_prefix("FROM "));
    let name =
        last.and_then(|from| from.split_whitespace().next()).context("a Containerfile without FROM")?;
    Ok(if name == "debian:bookworm-slim" { base::NAME.to_owned() } else { name.to_owned() })
}

/// All files of a folder, sorted by name.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = fs::read_dir(folder)
        .with_context(|| format!("reading {}", folder.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    files.sort();
    Ok(files)
}

/// Removes all but the newest entries of a kind. Each build of ours makes a large one, and an older one only
/// helps somebody who goes back and forth between two versions.
fn forget_older(kind: &str, newest: &Path) -> Result<()> {
    let mut others = Vec::new();
    for entry in fs::read_dir(cache::root().join(kind))? {
        let entry = entry?;
        let is_finished = !entry.file_name().to_string_lossy().starts_with('.');
        if is_finished && entry.path() != newest {
            others.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    others.sort();
    others.iter().rev().skip(KEPT_BESIDES_NEWEST).try_for_each(|(_, path)| {
        fs::remove_dir_all(path).with_context(|| format!("removing {}", path.display()))
    })
}

/// The static program that holds a pod's namespaces.
fn pause_binary() -> Result<PathBuf> {
    let source = checkout().join("images/pause/pause.c");
    cache::entry("pause", &cache::key_of_files(std::slice::from_ref(&source))?, |into| {
        command::run(
            Command::new("cc").args(["-Os", "-static", "-s", "-o"]).arg(into.join("pause")).arg(&source),
            &log("pause"),
            LIMIT,
        )
    })
}

/// A context with one program of a folder that holds several.
fn only(folder: &Path, program: &str) -> Result<PathBuf> {
    let source = folder.join(program);
    cache::entry("context", &cache::key(&[&source]), |into| {
        fs::copy(&source, into.join(program)).with_context(|| format!("copying {}", source.display()))?;
        Ok(())
    })
}

#[cfg(test)]
mod readme;

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(contexts: Vec<(&'static str, PathBuf)>) -> Recipe {
        Recipe { folder: "pause", name: "pause:1".to_owned(), contexts }
    }

    #[test]
    fn another_context_makes_another_image() -> Result<()> {
        let folder = checkout().join("images/pause");
        let one = recipe(vec![("binaries", "/cache/a".into())]).key(&folder)?;
        let other = recipe(vec![("binaries", "/cache/b".into())]).key(&folder)?;
        assert_ne!(one, other);
        assert_eq!(one, recipe(vec![("binaries", "/cache/a".into())]).key(&folder)?);
        Ok(())
    }

    #[test]
    fn every_containerfile_builds_on_the_base_or_on_nothing() -> Result<()> {
        for folder in fs::read_dir(checkout().join("images"))? {
            let folder = folder?.path();
            if folder.is_dir() {
                let base = base_of(&folder)?;
                assert!(base == base::NAME || base == "scratch", "{} starts from {base}", folder.display());
            }
        }
        Ok(())
    }

    #[test]
    fn w2_the_image_that_docker_compiles_is_optimized_unless_asked_otherwise() -> Result<()> {
        let text = fs::read_to_string(checkout().join("images/rocketmart/Containerfile"))?;
        let (_, compiled) = text.split_once("ARG PROFILE=release\n").context("no profile")?;
        assert!(compiled.starts_with("RUN cargo build --locked --profile \"$PROFILE\""), "{compiled}");
        Ok(())
    }

    #[test]
    fn nothing_is_pulled_from_a_registry() {
        let command = recipe(vec![]).build_command(Path::new("/images/pause"));
        assert!(command.get_args().any(|argument| argument == "--pull=never"));
    }
}
