//! Snapshots as a running QEMU speaks of them: its drives, what stands in the way, and where a load
//! broke off.

use serde_json::Value;

use super::{Drive, Drives, tags};
use crate::error::{Error, Result};

/// How the nodes of a definition's disks are called.
const DISK: &str = "disk-";

impl Drives<String> {
    /// Reads the answer to `query-block`; the handle of a drive is its node. A drive that is only read
    /// has nothing to go back to. The disks come in their order, then the others.
    ///
    /// # Errors
    /// Where it is not of QEMU's form.
    pub(crate) fn read(blocks: &Value) -> Result<Drives<String>> {
        let nonsense = || Error::failed("cannot read what QEMU says of its drives");
        let mut found = Vec::new();
        let mut unfit = Vec::new();
        for block in blocks.as_array().ok_or_else(nonsense)? {
            let medium = &block["inserted"];
            if medium.is_null() || medium["ro"] == true {
                continue;
            }
            let node = medium["node-name"].as_str().ok_or_else(nonsense)?;
            let name = node.strip_prefix(DISK).unwrap_or(node).to_owned();
            match medium["drv"].as_str() {
                Some("qcow2") => {
                    let tags = tags(&medium["image"])?;
                    found.push((node.to_owned(), Drive { name, tags }));
                }
                driver => {
                    let why = format!("its format is {}", driver.unwrap_or("unknown"));
                    unfit.push((name, why));
                }
            }
        }
        // The first gets the memory, which is no business of the firmware's variables.
        found.sort_by_key(|(node, _)| !node.starts_with(DISK));
        let (handles, drives) = found.into_iter().unzip();
        Ok(Drives { drives, handles, unfit })
    }
}

/// Whether a load broke half-way, by the answers to `query-status` and `query-jobs`: memory and disks
/// then belong to different times, and the guest must not go on. QEMU's own state tells it, but for
/// a VM that was paused: for that one the job which failed is left lying.
pub(crate) fn is_half_loaded(status: &Value, jobs: &Value, job: &str) -> bool {
    let broken = matches!(status["status"].as_str(), Some("restore-vm" | "internal-error"));
    broken || (status["running"] == false && failed_load(jobs, job))
}

/// Whether the job of this name is a load that has failed.
pub(crate) fn failed_load(jobs: &Value, job: &str) -> bool {
    let failed = |it: &Value| {
        it["id"] == job && it["type"] == "snapshot-load" && it["error"].as_str().is_some()
    };
    jobs.as_array().is_some_and(|jobs| jobs.iter().any(failed))
}
