//! What is configured wrongly is named, with its place; the server does not start with it.

use crate::process::Home;

#[test]
fn a_wrong_key_or_value_is_named_with_its_line_and_the_server_does_not_start() {
    let home = Home::new();
    let file = home.path().join("wrong.toml");
    for (text, words) in [("[http]\n\nmax_jsn_bytes = 1\n", ["max_jsn_bytes", "line 3"]), ("[server]\nlisten = \"nowhere\"\n", ["listen", "line 2"]), ("[nothing]\n", ["nothing", "line 1"])] {
        std::fs::write(&file, text).unwrap();
        let said = home.fails(&["serve", "--config", file.to_str().unwrap()]);
        assert!(words.iter().all(|w| said.contains(w)), "{said}");
    }
    let missing = home.fails(&["serve", "--config", "/does/not/exist.toml"]);
    assert!(missing.contains("/does/not/exist.toml"), "{missing}");
    assert!(!home.data().exists(), "nothing was made");
}

#[test]
fn the_environment_and_the_file_are_obeyed_in_that_order() {
    let home = Home::new();
    std::fs::write(home.path().join("config.toml"), "[http]\nmax_batch = 7\nmax_streams = 8\n").unwrap();
    let output = home.command(&["config", "--effective"]).env("FILBERT_HTTP__MAX_STREAMS", "9").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("http.max_batch = 7  # file") && text.contains("http.max_streams = 9  # environment"), "{text}");
    let output = home.command(&["config"]).env("FILBERT_HTTP__NOTHING", "1").output().unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("FILBERT_HTTP__NOTHING"));
}

#[test]
fn the_description_the_executable_prints_is_the_one_in_the_repository() {
    let kept = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/generated/openapi.json")).unwrap();
    assert_eq!(Home::new().ok(&["openapi"]), kept.trim_end());
}
