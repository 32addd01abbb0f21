//! Prints the CRD manifests, or writes them into the folder given as the only argument:
//! `cargo run -p rocketmart-crds --bin crdgen -- charts/rocketmart/crds`.

use std::{error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1);
    for (name, text) in rocketmart_crds::manifest::files()? {
        match &folder {
            Some(folder) => fs::write(Path::new(folder).join(name), text)?,
            None => println!("---\n{text}"),
        }
    }
    Ok(())
}
