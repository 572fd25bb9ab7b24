//! What a Distributed Map leaves in the bucket ("ResultWriter (Map)", Step Functions Developer Guide).

use serde::Deserialize;
use serde::de::DeserializeOwned;
use workflow::Error;
use workflow::error::invalid;

use crate::Bucket;

/// What the Map state answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Results {
    pub result_writer_details: Place,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Place {
    pub key: String,
}

/// One execution of the Map's. Input and output are JSON in a text.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Child {
    pub input: String,
    #[serde(default)]
    pub output: Option<String>,
    #[serde(default)]
    pub error: Option<String>,
    #[serde(default)]
    pub cause: Option<String>,
    #[serde(default)]
    pub start_date: String,
    #[serde(default)]
    pub stop_date: String,
}

/// `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Manifest {
    result_files: ResultFiles,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "UPPERCASE")]
struct ResultFiles {
    succeeded: Vec<File>,
    failed: Vec<File>,
    pending: Vec<File>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct File {
    key: String,
}

impl Results {
    /// Each child as `told` takes it, file by file: all of them as texts are more than there is memory.
    pub async fn read<T>(
        &self,
        bucket: &Bucket,
        mut told: impl FnMut(Child) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let manifest: Manifest = load(bucket, &self.result_writer_details.key).await?;
        let ResultFiles { succeeded, failed, pending } = manifest.result_files;
        let mut all = vec![];
        for file in succeeded.iter().chain(&failed).chain(&pending) {
            let children: Vec<Child> = load(bucket, &file.key).await?;
            for child in children {
                all.push(told(child)?);
            }
        }
        Ok(all)
    }
}

/// An object that holds JSON.
pub async fn load<T: DeserializeOwned>(bucket: &Bucket, key: &str) -> Result<T, Error> {
    parse(key, &bucket.get(key).await?)
}

pub fn parse<T: DeserializeOwned>(key: &str, text: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(text).map_err(|error| invalid(key, format!("is not what a fleet writes: {error}")))
}
