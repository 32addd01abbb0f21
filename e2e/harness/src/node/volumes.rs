//! Storage: a default storage class and a stock of volumes made beforehand.
//!
//! They are `local` volumes. The kubelet gives their folders to a pod's `fsGroup`, so servers that do not run
//! as root can write. A claim binds when its pod is scheduled. When a volume's claim is deleted, [`reclaim`]
//! empties the volume and makes it available again; a larger cluster's provisioner does that by itself.

use std::{fs, io};

use anyhow::{Context, Result};

use super::layout::{Layout, NAME};
use crate::cluster::Cluster;

const COUNT: usize = 24;
const CAPACITY: &str = "10Gi";

/// Makes the folders and returns the manifests of the class and of all volumes.
pub(super) fn create(layout: &Layout) -> Result<String> {
    for number in 0..COUNT {
        fs::create_dir_all(layout.volume(number))?;
    }
    Ok(manifests(layout))
}

/// Empties the volumes whose claims are gone and makes them available again.
pub(super) fn reclaim(layout: &Layout, cluster: &Cluster) -> Result<()> {
    let phases = cluster.kubectl(&[
        "get",
        "persistentvolumes",
        "--output=jsonpath={range .items[*]}{.metadata.name} {.status.phase}{\"\\n\"}{end}",
    ])?;
    for number in (0..COUNT).filter(|number| is_released(&phases, *number)) {
        let folder = layout.volume(number);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("emptying {}", folder.display()));
            }
            _ => fs::create_dir_all(&folder)?,
        }
        let patch = r#"[{"op": "remove", "path": "/spec/claimRef"}]"#;
        cluster.kubectl(&["patch", "persistentvolume", &name(number), "--type=json", "--patch", patch])?;
    }
    Ok(())
}

fn is_released(phases: &str, number: usize) -> bool {
    phases.lines().any(|line| line == format!("{} Released", name(number)))
}

fn name(number: usize) -> String {
    format!("{NAME}-{number:02}")
}

fn manifests(layout: &Layout) -> String {
    let mut text = String::from(
        "apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: standard
  annotations:
    storageclass.kubernetes.io/is-default-class: \"true\"
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
",
    );
    for number in 0..COUNT {
        text.push_str(&volume(layout, number));
    }
    text
}

fn volume(layout: &Layout, number: usize) -> String {
    format!(
        "---
apiVersion: v1
kind: PersistentVolume
metadata:
  name: {name}
spec:
  storageClassName: standard
  capacity: {{storage: {CAPACITY}}}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  local:
    path: {path}
  nodeAffinity:
    required:
      nodeSelectorTerms:
        - matchExpressions:
            - {{key: kubernetes.io/hostname, operator: In, values: [{NAME}]}}
",
        name = name(number),
        path = layout.volume(number).display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_volumes_that_lost_their_claim_are_emptied() {
        let phases = "rocketmart-00 Released\nrocketmart-01 Bound\nrocketmart-02 Available\n";
        let released: Vec<_> = (0..COUNT).filter(|number| is_released(phases, *number)).collect();
        assert_eq!(released, [0]);
    }

    #[test]
    fn every_volume_has_a_folder_of_its_own() {
        let text = manifests(&Layout::new());
        let folders: std::collections::BTreeSet<_> =
            text.lines().filter(|line| line.trim_start().starts_with("path: ")).collect();
        assert_eq!(folders.len(), COUNT);
    }
}
