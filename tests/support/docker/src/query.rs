//! The query of a request, and the filters that Docker puts there as JSON.

use serde_json::Value;

/// Takes a query apart and undoes its encoding.
pub(crate) fn parse(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

/// The value of a key; empty if there is none.
pub(crate) fn value<'a>(query: &'a [(String, String)], key: &str) -> &'a str {
    query.iter().find(|(found, _)| found == key).map_or("", |(_, value)| value)
}

/// Reads a switch as Docker does: anything but the words for no is yes.
pub(crate) fn is_on(query: &[(String, String)], key: &str) -> bool {
    !matches!(value(query, key).to_ascii_lowercase().as_str(), "" | "0" | "no" | "false" | "none")
}

/// The labels that are filtered by: `{"label": ["a", "b=c"]}`, or the older `{"label": {"a": true}}`.
pub(crate) fn labels(query: &[(String, String)]) -> Result<Vec<String>, String> {
    let text = value(query, "filters");
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let filters: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let filters = filters.as_object().ok_or("filters are not an object")?;
    if let Some(unknown) = filters.keys().find(|key| *key != "label") {
        return Err(format!("the double knows no filter {unknown:?}"));
    }
    Ok(match filters.get("label") {
        Some(Value::Array(labels)) => labels.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::Object(labels)) => labels.keys().cloned().collect(),
        _ => Vec::new(),
    })
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match (byte, digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(decoded)) => {
                out.push(decoded);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_in_both_forms() {
        for query in ["all=true&filters=%7B%22label%22%3A%5B%22ab%22%5D%7D", "filters={\"label\":{\"ab\":true}}&all=1"]
        {
            let query = parse(query);
            assert_eq!(labels(&query), Ok(vec!["ab".to_owned()]));
            assert!(is_on(&query, "all") && !is_on(&query, "force"));
        }
        assert!(labels(&parse("filters=xx")).is_err(), "a filter that cannot be read would match everything");
    }
}
