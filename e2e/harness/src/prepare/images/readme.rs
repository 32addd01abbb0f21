//! Checks that README.md has Docker build what buildah builds here: same file, contexts and name.

use std::ffi::OsStr;

use super::*;
use crate::documents::blocks;

/// A `docker buildx build` line of README.md.
#[derive(Debug, Default)]
struct Line {
    tag: String,
    file: Option<String>,
    context: Option<String>,
    /// The names of the other contexts it copies from.
    contexts: Vec<String>,
}

impl Line {
    fn parse(line: &str) -> Result<Self> {
        let (mut parsed, mut words) = (Self::default(), line.split_whitespace());
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} without a value: {line}"));
            match word {
                "-t" => value()?.clone_into(&mut parsed.tag),
                "-f" => parsed.file = Some(value()?.to_owned()),
                "--build-context" => {
                    let (name, _) = value()?.split_once('=').context("a context without a folder")?;
                    parsed.contexts.push(name.to_owned());
                }
                other if other.starts_with('-') => anyhow::bail!("an option this test does not know: {line}"),
                context => parsed.context = Some(context.to_owned()),
            }
        }
        Ok(parsed)
    }
}

fn commands() -> Result<Vec<String>> {
    let text = fs::read_to_string(checkout().join("README.md"))?;
    let section = blocks(&text).into_iter().filter(|block| block.section.starts_with("With Docker"));
    Ok(section.flat_map(|block| block.text.lines().map(str::to_owned).collect::<Vec<_>>()).collect())
}

/// Everything that the node and its shop run, except Kafka's libraries and our programs themselves.
fn recipes() -> Vec<Recipe> {
    let mut recipes: Vec<Recipe> = backing_services("/cache/kafka".into()).into();
    recipes.push(rocketmart("/cache/binaries".into()));
    recipes
}

#[test]
fn the_readme_has_docker_build_the_files_and_contexts_that_buildah_builds() -> Result<()> {
    let lines = commands()?;
    let lines = lines.iter().filter_map(|line| line.strip_prefix("docker buildx build "));
    let mut lines = lines.map(Line::parse).collect::<Result<Vec<_>>>()?;
    for recipe in recipes() {
        let tag = recipe.name.strip_prefix("docker.io/library/").context("not a name as Docker has it")?;
        let at =
            lines.iter().position(|line| line.tag == tag).with_context(|| format!("no line for {tag}"))?;
        let line = lines.swap_remove(at);
        // By default Docker would look for a `Dockerfile`.
        let file = checkout().join(line.file.with_context(|| format!("{tag}: no -f"))?);
        let context = checkout().join(line.context.with_context(|| format!("{tag}: no context"))?);
        let folder = checkout().join("images").join(recipe.folder);
        let command = recipe.build_command(&folder);
        let arguments: Vec<&OsStr> = command.get_args().collect();
        let built = arguments.iter().position(|argument| *argument == "--file").map(|at| arguments[at + 1]);
        assert_eq!(built.map(Path::new), Some(file.as_path()), "{tag}");
        assert_eq!(arguments.last().map(Path::new), Some(context.as_path()), "{tag}");
        let text = fs::read_to_string(&file)?;
        for (name, _) in &recipe.contexts {
            let is_stage = text.lines().any(|line| line.ends_with(&format!(" AS {name}")));
            assert!(is_stage || line.contexts.iter().any(|known| known == name), "{tag} lacks {name}");
        }
        assert!(line.contexts.iter().all(|name| recipe.contexts.iter().any(|(known, _)| known == name)));
    }
    assert!(lines.is_empty(), "nobody builds these here: {lines:?}");
    Ok(())
}

#[test]
fn the_readme_loads_all_that_it_has_docker_build() -> Result<()> {
    let lines = commands()?;
    let load = lines.iter().find_map(|line| line.strip_prefix("kind load docker-image --name rocketmart "));
    let loaded: Vec<_> = load.context("nothing is loaded")?.split(' ').collect();
    let names = recipes().into_iter().map(|recipe| recipe.name.replace("docker.io/library/", ""));
    assert_eq!(loaded, names.collect::<Vec<_>>());
    Ok(())
}

#[test]
fn a_line_with_another_file_or_an_unknown_option_is_seen() -> Result<()> {
    let line = Line::parse("-t redis:7 -f images/kafka/Containerfile images/redis")?;
    assert_eq!((line.tag.as_str(), line.file.as_deref()), ("redis:7", Some("images/kafka/Containerfile")));
    assert!(Line::parse("-t redis:7 --target x images/redis").is_err());
    Ok(())
}
