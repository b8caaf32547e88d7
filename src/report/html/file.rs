//! The data of a page -> its file.
//!
//! The data stands in a script element that no browser runs. In JSON, `<`, `>`, `&`, and Unicode's
//! own line ends occur only inside strings, where they can be written as escapes: so no text can end
//! the element, open a comment in it, or mean anything to a parser of HTML.

use crate::digest::policy_source;

use super::page::Page;

const SHELL: &str = include_str!("view/page.html");
const STYLE: &str = include_str!("view/page.css");
/// In one scope, in which what is constant has to come before what uses it.
const SCRIPTS: [&str; 8] = [
    include_str!("view/data.js"),
    include_str!("view/text.js"),
    include_str!("view/chart.js"),
    include_str!("view/verdict.js"),
    include_str!("view/list.js"),
    include_str!("view/answers.js"),
    include_str!("view/tools.js"),
    include_str!("view/page.js"),
];

/// The page as a file that needs no other.
///
/// # Errors
/// None that a page can have: its numbers and names can all be written as JSON.
pub fn html(page: &Page) -> serde_json::Result<String> {
    let style = as_parsed(STYLE);
    let script = format!(
        "'use strict';\n(() => {{\n{}}})();\n",
        as_parsed(&SCRIPTS.join("\n"))
    );
    let data = embedded(page)?;
    let mut html =
        String::with_capacity(SHELL.len() + style.len() + script.len() + data.len() + 512);
    // What is put in is not looked at again: an answer may hold a place holder.
    let mut rest = SHELL;
    for (holder, text) in [
        ("{{policy}}", policy(&style, &script).as_str()),
        ("{{style}}", &style),
        ("{{data}}", &data),
        ("{{script}}", &script),
    ] {
        let (before, after) = rest.split_once(holder).unwrap_or((rest, ""));
        html.push_str(before);
        html.push_str(text);
        rest = after;
    }
    html.push_str(rest);
    Ok(html)
}

/// As a browser reads it before it takes the digest: a checkout may have other line ends.
fn as_parsed(text: &str) -> String {
    text.replace("\r\n", "\n")
}

/// Nothing is fetched, no script runs and no style holds but the page's own, and no text may become
/// markup in browsers that know of trusted types.
fn policy(style: &str, script: &str) -> String {
    format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; img-src data:; base-uri 'none'; \
         form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        policy_source(script),
        policy_source(style)
    )
}

/// JSON in which nothing means anything to a parser of HTML or of old JavaScript.
fn embedded(page: &Page) -> serde_json::Result<String> {
    let json = serde_json::to_string(page)?;
    let mut escaped = String::with_capacity(json.len() + json.len() / 64);
    for c in json.chars() {
        match c {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            c => escaped.push(c),
        }
    }
    Ok(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Comparison;
    use crate::report::html::{PageBase, PageParts, PageSubject, page};
    use crate::report::testing::{say, two_candidates};

    fn of(comparison: &Comparison) -> Page {
        page(PageParts {
            base: PageBase::of(comparison),
            subjects: PageSubject::all_of(comparison, |_| String::new()),
            runs: Vec::new(),
            suites: &[],
            notes: Vec::new(),
        })
    }

    const HOSTILE: [&str; 9] = [
        "</script><script>document.title = 'owned'</script>",
        "</SCRIPT ><!--<script>",
        "]]> --> <!-- <![CDATA[",
        "<img src=x onerror=\"document.title='owned'\">",
        "&lt;/script&gt; &#60;script&#62;",
        "{{script}} {{data}} {{policy}}",
        "\u{2028}\u{2029}\u{202e}\u{0}\u{1b}[31m\u{feff}\u{fffe}",
        "\\u003c \\\" \\",
        "`${alert(1)}` '+alert(1)+' */ // ",
    ];

    /// The text of the script element that holds the data, as a browser cuts it out.
    fn data_of(html: &str) -> &str {
        let opening = "<script type=\"application/json\" id=\"data\">";
        let (_, rest) = html.split_once(opening).unwrap();
        rest.split_once("</script").unwrap().0
    }

    #[test]
    fn no_answer_leaves_its_element() {
        let plain = html(&of(&two_candidates())).unwrap();
        for text in HOSTILE {
            let mut comparison = two_candidates();
            say(&mut comparison, 0, "p0", text);
            say(&mut comparison, 1, "p1", text);
            comparison.candidates[0].subject.name = text.into();
            comparison.candidates[0].causes.push(text.into());
            let page = of(&comparison);
            let html = html(&page).unwrap();
            let data = data_of(&html);
            let forbidden = ['<', '>', '&', '\u{2028}', '\u{2029}'];
            assert!(!data.contains(forbidden), "{text:?}");
            assert_eq!(
                serde_json::from_str::<Page>(data).unwrap(),
                page,
                "{text:?}"
            );
            // All else is as it is without any answer.
            assert_eq!(
                html.replace(data, ""),
                plain.replace(data_of(&plain), ""),
                "{text:?}"
            );
        }
    }

    #[test]
    fn nothing_is_fetched_and_no_other_script_runs() {
        let html = html(&of(&two_candidates())).unwrap();
        assert_eq!(html.matches("<script").count(), 2);
        assert_eq!(html.matches("</script").count(), 2);
        for holder in ["{{policy}}", "{{style}}", "{{data}}", "{{script}}"] {
            assert!(!html.contains(holder), "{holder}");
        }
        for part in [
            "default-src 'none'",
            "base-uri 'none'",
            "trusted-types 'none'",
        ] {
            assert!(html.contains(part), "{part}");
        }
        for way in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "fetch(",
            "import(",
        ] {
            assert!(!SCRIPTS.concat().contains(way), "{way}");
        }
        let names = ["http://www.w3.org/2000/svg"];
        let addresses = SCRIPTS.concat() + STYLE + SHELL;
        let all = addresses
            .match_indices("http")
            .map(|(at, _)| &addresses[at..]);
        for address in all.filter(|a| a.starts_with("http://") || a.starts_with("https://")) {
            assert!(
                names.iter().any(|name| address.starts_with(name)),
                "{}",
                &address[..40]
            );
        }
    }

    /// The policy names what stands in the page, to the byte.
    #[test]
    fn the_policy_lets_the_pages_own_script_and_style_in() {
        let html = html(&of(&two_candidates())).unwrap();
        let between = |from: &str, to: &str| {
            let (_, rest) = html.split_once(from).unwrap();
            rest.split_once(to).unwrap().0.to_owned()
        };
        let style = policy_source(&between("<style>", "</style>"));
        let script = policy_source(&between("<script>", "</script>"));
        assert!(html.contains(&format!("style-src '{style}'")));
        assert!(html.contains(&format!("script-src '{script}'")));
        assert_eq!(as_parsed("a\r\nb"), "a\nb");
    }

    /// 5,000 probes have to open at once. What a probe takes beside its texts, with two candidates and
    /// one check.
    #[test]
    fn a_probe_takes_few_bytes_beside_its_texts() {
        let bytes = |probes: usize| {
            let mut comparison = two_candidates();
            for candidate in &mut comparison.candidates {
                let mut one = candidate.probes[1].clone();
                candidate.probes.clear();
                for i in 0..probes {
                    one.id.probe = format!("probe-{i:04}");
                    candidate.probes.push(one.clone());
                }
            }
            html(&of(&comparison)).unwrap().len()
        };
        let each = (bytes(600) - bytes(100)) / 500;
        assert!(each <= 480, "{each} bytes a probe");
        assert!(bytes(0) < 100_000, "the page itself: {}", bytes(0));
    }
}
