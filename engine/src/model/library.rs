//! The models that this machine knows: a folder with one JSON file per model, which says where the GGUF file is.

use super::{ImportError, Model, Progress, Requirements};
use alloy::primitives::B256;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Environment variable that moves the library.
pub const HOME_VARIABLE: &str = "REFUTE_HOME";

/// What the library keeps about a model.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Entry {
    /// The model's id.
    pub model_id: B256,
    /// `general.name` of the file.
    pub name: String,
    /// Where the file is.
    pub path: PathBuf,
    /// Its length, bytes.
    pub bytes: u64,
    /// Layers.
    pub layers: u32,
    /// Positions.
    pub context: u32,
    /// Tokens.
    pub vocabulary: u32,
    /// Steps of an output block.
    pub steps: u32,
    /// Leaves of the weights tree.
    pub weight_leaves: u32,
    /// Smallest bond of an answer, wei.
    #[serde(default, with = "alloy::serde::displayfromstr")]
    pub min_bond_wei: u128,
    /// Shortest challenge window, seconds.
    #[serde(default)]
    pub min_window_s: u32,
}

/// Why a model can't be had from the library.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// Its file can't be imported.
    #[error("{path} can't be imported")]
    Import {
        /// The GGUF file.
        path: PathBuf,
        /// Why.
        source: ImportError,
    },
    /// Files of the library itself.
    #[error("{path} can't be read or written")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the library that isn't an entry.
    #[error("{path} is not a library entry: delete it and import the model again")]
    Entry {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Neither a file nor a known id.
    #[error(
        "{0:?} is neither a GGUF file nor the id of an imported model: see `refute model list`, or \
         `refute model import FILE.gguf`"
    )]
    Unknown(String),
    /// The start of several ids.
    #[error("{0:?} is the start of several model ids: give more digits")]
    Ambiguous(String),
    /// The file isn't the one that was imported.
    #[error("{path} changed since it was imported: it is now model {found}, not {expected}")]
    Changed {
        /// The GGUF file.
        path: PathBuf,
        /// Its id now.
        found: B256,
        /// Its id at import.
        expected: B256,
    },
}

/// The folder of entries.
#[derive(Clone, Debug)]
pub struct Library {
    folder: PathBuf,
}

impl Library {
    /// The library of this user: `$REFUTE_HOME/models`, else `~/.refute/models`.
    pub fn user() -> Self {
        let home = std::env::var_os(HOME_VARIABLE).map_or_else(
            || {
                let home = std::env::var_os("HOME").unwrap_or_default();
                Path::new(&home).join(".refute")
            },
            PathBuf::from,
        );
        Self::at(home.join("models"))
    }

    /// A library in this folder.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Imports a file under its publisher's requirements, and remembers both.
    ///
    /// # Errors
    /// A file that can't be imported, and a folder that can't be written.
    pub fn import(
        &self,
        path: &Path,
        requirements: Requirements,
        progress: Progress<'_>,
    ) -> Result<(Entry, Model), LibraryError> {
        let model = open(path, progress)?.requiring(requirements);
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| LibraryError::Io { path, source }
        };
        let path = path.canonicalize().map_err(io(path))?;
        let entry = Entry {
            model_id: model.id,
            name: model.config.name.clone(),
            bytes: path.metadata().map_err(io(&path))?.len(),
            path,
            layers: model.config.layers,
            context: model.config.context,
            vocabulary: model.config.vocabulary,
            steps: model.program.steps.len() as u32,
            weight_leaves: model.weights.leaf_count(),
            min_bond_wei: requirements.min_bond_wei,
            min_window_s: requirements.min_window_s,
        };
        std::fs::create_dir_all(&self.folder).map_err(io(&self.folder))?;
        let target = self.folder.join(format!("{}.json", model.id));
        let partial = target.with_extension(format!("{}.part", std::process::id()));
        let text = serde_json::to_string_pretty(&entry)
            .map_err(|source| LibraryError::Entry { path: target.clone(), source })?;
        std::fs::write(&partial, text).map_err(io(&partial))?;
        std::fs::rename(&partial, &target).map_err(io(&target))?;
        Ok((entry, model))
    }

    /// All entries, by id.
    ///
    /// # Errors
    /// Files that can't be read.
    pub fn list(&self) -> Result<Vec<Entry>, LibraryError> {
        let io = |source| LibraryError::Io { path: self.folder.clone(), source };
        let files = match std::fs::read_dir(&self.folder) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            files => files.map_err(io)?,
        };
        let mut entries = Vec::new();
        for file in files {
            let path = file.map_err(io)?.path();
            if path.extension().is_some_and(|e| e == "json") {
                let text = std::fs::read_to_string(&path)
                    .map_err(|source| LibraryError::Io { path: path.clone(), source })?;
                entries.push(
                    serde_json::from_str(&text)
                        .map_err(|source| LibraryError::Entry { path, source })?,
                );
            }
        }
        entries.sort_by_key(|e: &Entry| e.model_id);
        Ok(entries)
    }

    /// The entry of an id or of its first digits.
    ///
    /// # Errors
    /// No entry, or several.
    pub fn find(&self, id: &str) -> Result<Entry, LibraryError> {
        let digits = id.trim_start_matches("0x").to_ascii_lowercase();
        let starts = |e: &Entry| format!("{:x}", e.model_id).starts_with(&digits);
        let mut found = self.list()?.into_iter().filter(starts);
        match (found.next(), found.next()) {
            (Some(entry), None) if digits.len() >= 4 => Ok(entry),
            (Some(_), Some(_)) => Err(LibraryError::Ambiguous(id.to_owned())),
            _ => Err(LibraryError::Unknown(id.to_owned())),
        }
    }

    /// A model by file, without requirements, or by id. The file is hashed again, so a changed file is noticed.
    ///
    /// # Errors
    /// Unknown ids, changed files, and files that can't be imported.
    pub fn load(&self, id_or_file: &str, progress: Progress<'_>) -> Result<Model, LibraryError> {
        let path = Path::new(id_or_file);
        if path.is_file() {
            return open(path, progress);
        }
        let entry = self.find(id_or_file)?;
        let Entry { min_bond_wei, min_window_s, .. } = entry;
        let requirements = Requirements { min_bond_wei, min_window_s };
        let model = open(&entry.path, progress)?.requiring(requirements);
        if model.id != entry.model_id {
            return Err(LibraryError::Changed {
                path: entry.path,
                found: model.id,
                expected: entry.model_id,
            });
        }
        Ok(model)
    }
}

fn open(path: &Path, progress: Progress<'_>) -> Result<Model, LibraryError> {
    Model::open(path, progress)
        .map_err(|source| LibraryError::Import { path: path.to_owned(), source })
}
