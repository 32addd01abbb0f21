//! The commands that documents tell people to type, for tests that run them exactly as written.
//!
//! ```text
//! document ─ blocks ─ Block: fenced as `sh`, or indented by four spaces
//!                       └ run by the test of its document (operator/tests/it/documents.rs lists which)
//! ```

/// Commands that a document shows as one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The heading above it; empty when there is none.
    pub section: String,
    /// `sh`, or whatever else its fence says (`sh node`); empty if the block is indented.
    pub kind: String,
    /// Its lines without their indentation, each with its line end.
    pub text: String,
}

impl Block {
    /// The line that tells it from the other blocks of its document.
    pub fn first_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }
}

/// An indented block that begins with one of these programs is a command, not a picture or an example.
const PROGRAMS: [&str; 6] = ["cargo", "curl", "docker", "helm", "kubectl", "redis-cli"];

/// All blocks of shell commands, in their order.
pub fn blocks(document: &str) -> Vec<Block> {
    let (mut found, mut section): (Vec<Block>, _) = (Vec::new(), String::new());
    let mut lines = document.lines().peekable();
    let mut before = "";
    while let Some(line) = lines.next() {
        let indentation = &line[..line.len() - line.trim_start().len()];
        let own = |line: &str| format!("{}\n", line.strip_prefix(indentation).unwrap_or(line.trim_start()));
        if let Some(kind) = line.trim_start().strip_prefix("```") {
            let inside = lines.by_ref().take_while(|line| !line.trim_start().starts_with("```"));
            let text: String = inside.map(own).collect();
            if kind.split(' ').next() == Some("sh") {
                found.push(Block { section: section.clone(), kind: kind.to_owned(), text });
            }
        } else if indentation == "    " && before.trim().is_empty() {
            let mut text = own(line);
            while let Some(line) = lines.next_if(|line| line.starts_with(indentation)) {
                text += &own(line);
            }
            if PROGRAMS.contains(&text.split_whitespace().next().unwrap_or_default()) {
                found.push(Block { section: section.clone(), kind: String::new(), text });
            }
        } else if let Some(heading) = line.strip_prefix('#') {
            heading.trim_start_matches('#').trim().clone_into(&mut section);
        }
        before = line;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Block, blocks};

    fn block(section: &str, kind: &str, text: &str) -> Block {
        Block { section: section.into(), kind: kind.into(), text: text.into() }
    }

    #[test]
    fn blocks_are_those_of_shell_with_their_section_and_without_their_indentation() {
        let document = "```sh\n# no heading\n```\n## A\n```text\nno\n```\n1. Do\n\n   ```sh node\n   a \\\n     b\n   ```\n\
                        # B\nso:\n\n    kubectl a\n    kubectl b\n\n    {\"no\": 1}\n\nor\n    no\n";
        assert_eq!(
            blocks(document),
            [
                block("", "sh", "# no heading\n"),
                block("A", "sh node", "a \\\n  b\n"),
                block("B", "", "kubectl a\nkubectl b\n"),
            ]
        );
    }
}
