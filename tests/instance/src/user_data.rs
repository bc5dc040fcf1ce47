//! What a machine is told at launch, as cloud-init reads it.

/// The files that every machine gets: path, permissions, content.
pub(crate) fn files(environment: &str, agent: &str) -> Vec<(String, &'static str, String)> {
    let mut files = vec![("/etc/mayfly/test-cloud.env".to_owned(), "0600", environment.to_owned())];
    if !agent.is_empty() {
        files.push(("/etc/mayfly/agent.d/50-test.toml".to_owned(), "0644", agent.to_owned()));
    }
    files
}

/// A cloud-config that writes these files, and the scenario's own user data behind it, which may be of any kind.
pub(crate) fn document(files: &[(String, &str, String)], own: Option<&str>) -> String {
    let mut config = "#cloud-config\nwrite_files:\n".to_owned();
    for (path, permissions, content) in files {
        config.push_str(&format!("- path: {path}\n  permissions: '{permissions}'\n  content: |\n"));
        for line in content.lines() {
            config.push_str(&format!("    {line}\n"));
        }
    }
    let Some(own) = own else { return config };
    // text/plain: cloud-init tells the kind by the first line. Lists of two cloud-configs are joined, not replaced.
    let part = |text: &str| {
        format!(
            "--part\nContent-Type: text/plain; charset=\"utf-8\"\nX-Merge-Type: \
             list(append)+dict(no_replace,recurse_list)+str()\n\n{text}\n"
        )
    };
    let head = "Content-Type: multipart/mixed; boundary=\"part\"\nMIME-Version: 1.0\n\n";
    format!("{head}{}{}--part--\n", part(&config), part(own))
}
