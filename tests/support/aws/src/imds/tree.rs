//! What the service holds: values by path, and the listings that follow.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

/// Values by their path below the version, such as `meta-data/instance-id`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    values: BTreeMap<String, Bytes>,
}

impl Tree {
    /// Accepts a path with or without the version in front.
    pub(crate) fn key(path: &str) -> String {
        let path = path.trim_start_matches('/');
        let path = path.strip_prefix("latest/").unwrap_or(path);
        path.trim_end_matches('/').to_owned()
    }

    pub(crate) fn set(&mut self, path: &str, value: impl Into<Bytes>) {
        self.values.insert(Self::key(path), value.into());
    }

    /// Removes a value, or a directory with all that is in it.
    pub(crate) fn remove(&mut self, path: &str) {
        let key = Self::key(path);
        let inside = format!("{key}/");
        self.values.retain(|path, _| *path != key && !path.starts_with(&inside));
    }

    /// The value or listing at a path as requested (without the version).
    pub(crate) fn get(&self, path: &str) -> Option<Bytes> {
        if let Some(value) = self.values.get(path) {
            return Some(value.clone());
        }
        self.list(path.trim_end_matches('/')).map(Bytes::from)
    }

    /// One name a line, directories with a slash, no newline at the end.
    fn list(&self, directory: &str) -> Option<String> {
        let inside = match directory {
            "" => String::new(),
            directory => format!("{directory}/"),
        };
        let names: BTreeSet<String> = self
            .values
            .range(inside.clone()..)
            .map_while(|(path, _)| path.strip_prefix(&inside))
            .map(|rest| match rest.split_once('/') {
                // The service shows these two without the slash.
                Some((first @ ("dynamic" | "meta-data"), _)) if inside.is_empty() => first.to_owned(),
                Some((first, _)) => format!("{first}/"),
                None => rest.to_owned(),
            })
            .collect();
        (!names.is_empty()).then(|| names.into_iter().collect::<Vec<_>>().join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_names_and_directories() {
        let mut tree = Tree::default();
        tree.set("/latest/meta-data/instance-id", "i-1");
        tree.set("meta-data/placement/region", "eu-west-1");
        let get = |tree: &Tree, path: &str| tree.get(path);
        assert_eq!(get(&tree, "").as_deref(), Some(&b"meta-data"[..]));
        let listing = Some(&b"instance-id\nplacement/"[..]);
        assert_eq!(get(&tree, "meta-data/").as_deref(), listing);
        assert_eq!(get(&tree, "meta-data/instance-id/"), None);
        tree.remove("meta-data/placement");
        assert_eq!(get(&tree, "meta-data/placement/region"), None);
    }
}
