//! `language`: the answer is written in a language.
//!
//! Code blocks, inline code, and links are left out first: a Chinese answer about Python stays
//! Chinese. What is left is judged by its script where that decides (Chinese, Japanese, Korean,
//! Thai, Greek, ...), then by its function words, which tell short sentences apart best, and last by
//! `whatlang`'s trigrams, among the languages that qeval knows.

mod function_words;

use whatlang::{Detector, Lang};

use crate::flow::Score;
use crate::text::{ellipsize, fold, is_cjk, one_of, words};

use super::error::CheckError;
use super::evidence::{Check, Evidence, Needs};
use super::params::Params;

use function_words::{by_function_words, has_function_words};

/// ISO 639-1 codes and what `whatlang` calls them.
const LANGUAGES: &[(&str, Lang)] = &[
    ("ar", Lang::Ara),
    ("cs", Lang::Ces),
    ("da", Lang::Dan),
    ("de", Lang::Deu),
    ("el", Lang::Ell),
    ("en", Lang::Eng),
    ("es", Lang::Spa),
    ("fi", Lang::Fin),
    ("fr", Lang::Fra),
    ("he", Lang::Heb),
    ("hi", Lang::Hin),
    ("hu", Lang::Hun),
    ("id", Lang::Ind),
    ("it", Lang::Ita),
    ("ja", Lang::Jpn),
    ("ko", Lang::Kor),
    ("nl", Lang::Nld),
    ("pl", Lang::Pol),
    ("pt", Lang::Por),
    ("ro", Lang::Ron),
    ("ru", Lang::Rus),
    ("sv", Lang::Swe),
    ("th", Lang::Tha),
    ("tr", Lang::Tur),
    ("uk", Lang::Ukr),
    ("vi", Lang::Vie),
    ("zh", Lang::Cmn),
];

/// Words in Latin letters below which a guess is worth little.
const FEWEST_WORDS: usize = 4;
/// `whatlang`'s confidence below which the nearest two languages are too close. Of 20 short English
/// sentences and 20 in 16 other languages, the one that it takes for another has 0.10, and the
/// lowest of the right ones 0.14.
const LEAST_CONFIDENCE: f64 = 0.12;
/// The same for a language that is not wanted: lists of nouns look like any language.
const FOREIGN_CONFIDENCE: f64 = 0.35;
/// Share of Chinese characters and foreign words together that has to be Chinese in an answer
/// that is called Chinese: names and terms stay in Latin letters.
const CHINESE_SHARE: f64 = 0.5;

/// `language`.
///
/// | parameter | default | |
/// |---|---|---|
/// | `value` | required | an ISO 639-1 code (`en`, `zh`, ...) or a list of accepted ones |
///
/// What it cannot judge is unscored: an answer of less than four words in Latin letters
/// (`Paris.` is the same in ten languages), one of code alone, and a list of nouns that is about as
/// likely in another language. Of languages that are about as likely one that is wanted goes first:
/// the check asks whether the answer may be in it. It does not tell close
/// relatives (Danish from Norwegian, simplified from traditional Chinese) apart, and of a text in
/// two languages it names the one that fills more of it.
#[derive(Debug)]
struct Language {
    accepted: Vec<&'static str>,
}

/// Builds `language`.
pub(super) fn build(mut params: Params<'_>) -> Result<Box<dyn Check>, CheckError> {
    let mut accepted = Vec::new();
    for code in params.strings("value") {
        match LANGUAGES.iter().find(|(known, _)| *known == code) {
            Some((known, _)) => accepted.push(*known),
            None => {
                let known: Vec<&str> = LANGUAGES.iter().map(|(code, _)| *code).collect();
                let rule = format!("a language is {}", one_of(&known));
                params.refuse("value", format!("has \"{}\"", ellipsize(&code, 20)), rule);
            }
        }
    }
    params.finish()?;
    Ok(Box::new(Language { accepted }))
}

/// The text without fenced blocks, inline code, and addresses.
fn prose(text: &str) -> String {
    let mut prose = String::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            // Odd pieces between back ticks are code.
            for (i, piece) in line.split('`').enumerate() {
                prose.push_str(if i % 2 == 0 { piece } else { " " });
            }
            prose.push('\n');
        }
    }
    let address = |word: &str| word.contains("://") || word.starts_with("www.");
    let kept: Vec<&str> = prose
        .split_whitespace()
        .filter(|word| !address(word))
        .collect();
    kept.join(" ")
}

/// The language of a text as a code, or why it cannot be told. Of languages that are about as
/// likely, one that is `wanted` goes first.
fn detect(text: &str, wanted: &[&'static str]) -> Result<&'static str, String> {
    let prose = prose(text);
    let words = words(&prose);
    let cjk = |word: &String| word.chars().all(is_cjk);
    let (characters, others) = (
        words.iter().filter(|w| cjk(w)).count(),
        words
            .iter()
            .filter(|w| !cjk(w) && w.chars().any(char::is_alphabetic))
            .count(),
    );
    if characters + others == 0 {
        return Err("the answer has no words outside code".into());
    }
    if characters as f64 >= CHINESE_SHARE * (characters + others) as f64 {
        let kana = |c: char| matches!(c, '\u{3040}'..='\u{30FF}');
        let hangul = |c: char| matches!(c, '\u{AC00}'..='\u{D7AF}');
        return Ok(match &prose {
            p if p.chars().any(kana) => "ja",
            p if p.chars().any(hangul) => "ko",
            _ => "zh",
        });
    }
    // Single CJK characters among foreign words would decide the script for whatlang.
    let foreign: String = prose
        .chars()
        .map(|c| if is_cjk(c) { ' ' } else { c })
        .collect();
    let letters = foreign.chars().filter(|c| c.is_alphabetic());
    let latin = letters.clone().filter(|c| *c < '\u{250}').count() * 2 > letters.count();
    if latin && others < FEWEST_WORDS {
        return Err(format!(
            "less than {FEWEST_WORDS} words: too few to tell the language"
        ));
    }
    if let Some(found) = by_function_words(&foreign, wanted).filter(|_| latin) {
        return Ok(found);
    }
    let known = LANGUAGES.iter().map(|(_, lang)| *lang).collect();
    let found = Detector::with_allowlist(known).detect(&foreign);
    let Some(found) = found else {
        return Err("the script is of none of the known languages".into());
    };
    let known = LANGUAGES.iter().find(|(_, lang)| *lang == found.lang());
    let code = known.map(|(code, _)| *code).ok_or("an unknown language")?;
    // Which of the languages in Latin letters it is does not matter where none is wanted; other
    // scripts name few languages each.
    let near = wanted.iter().any(|code| has_function_words(code));
    let least = match wanted.contains(&code) {
        _ if latin && !near => 0.0,
        false if latin => FOREIGN_CONFIDENCE,
        _ => LEAST_CONFIDENCE,
    };
    if found.confidence() < least {
        return Err("two languages are about as likely".into());
    }
    Ok(code)
}

/// Whether an answer is in another language than it was asked for. The question's own is what its
/// tags say, else what it looks like. What cannot be told is no other one.
pub(super) fn is_in_another_language(prompt: &str, tags: &[String], answer: &str) -> bool {
    let tagged = |code: &str| tags.iter().any(|tag| tag == code);
    let asked = match (tagged("en"), tagged("zh")) {
        (true, false) => Ok("en"),
        (false, true) => Ok("zh"),
        _ => detect(prompt, &[]),
    };
    let Ok(asked) = asked else { return false };
    detect(answer, &[asked]).is_ok_and(|found| found != asked)
}

impl Check for Language {
    fn needs(&self) -> Needs {
        Needs::answer()
    }

    fn score(&self, evidence: &Evidence<'_>) -> Score {
        let Some(answer) = evidence.answer else {
            return Score::unscored("no answer");
        };
        let shown = ellipsize(&fold(&answer.text), 60);
        match detect(&answer.text, &self.accepted) {
            Err(why) => Score::unscored(format!("{why}: \"{shown}\"")),
            Ok(found) => Score::of(
                self.accepted.contains(&found),
                format!(
                    "written in `{found}` (`{}` wanted): \"{shown}\"",
                    self.accepted.join("` or `")
                ),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::check::golden::tests::{judge, refused, table};

    const ENGLISH: &[&str] = &[
        "The capital of France is Paris.",
        "Yes, I can help you with that.",
        "Recursion is when a function calls itself.",
        "I like to read books in the evening.",
        "The cat is sleeping on the chair.",
        "There are seven days in a week.",
        "Sure! Here is the function:\n```python\ndef ajouter(a, b):\n    return a + b\n```\nIt adds two numbers.",
        "The Chinese word 你好 means hello.",
        "My favourite colour is blue, like the sky.",
        "She went to the market to buy apples and bread.",
        "A dog is a loyal animal that lives with people.",
        "No, that is not correct; the answer is four.",
        "You can read more about the topic at https://example.org/une/page if you like.",
        "It was founded in 1998 by two students.",
        "Plants need light, water, and air to grow.",
        "He doesn't know where his keys are.",
        "The book was written by George Orwell.",
        "You should drink more water every day.",
        "The moon goes around the earth.",
        "One, two, three, four, five, six.",
        "Water boils at 100 degrees Celsius.",
    ];
    const CHINESE: &[&str] = &[
        "法国的首都是巴黎。",
        "递归就是函数调用自己。",
        "可以，我来帮你。",
        "GPT-4 是 OpenAI 开发的语言模型。",
        "水在一百度沸腾。",
        "一个星期有七天。",
        "代码如下：\n```python\ndef add(a, b):\n    return a + b\n```",
        "我喜欢晚上看书。",
        "不对，答案是四。",
        "床前明月光，疑是地上霜。",
        "植物需要阳光、水和空气。",
        "他不知道钥匙在哪里。",
        "你好",
        "月亮繞著地球轉。",
        "這是正確的答案。",
        "请使用 `print` 函数。",
        "他在1998年创办了公司。",
        "天空是蓝色的。",
        "对",
        "Python 是一种编程语言。",
    ];
    const OTHERS: &[(&str, &str)] = &[
        ("fr", "La capitale de la France est Paris."),
        (
            "fr",
            "Je ne sais pas où sont mes clés, mais je les cherche.",
        ),
        ("es", "La capital de España es Madrid, una ciudad grande."),
        ("es", "Me gusta leer libros por la noche."),
        ("de", "Die Hauptstadt von Deutschland ist Berlin."),
        ("de", "Ich lese abends gerne ein gutes Buch."),
        ("it", "La capitale d'Italia è Roma, una città molto antica."),
        (
            "pt",
            "A capital de Portugal é Lisboa, e eu gosto muito dela.",
        ),
        ("ru", "Столица России - Москва."),
        ("ja", "日本の首都は東京です。"),
        ("ja", "私は本を読むのが好きです。"),
        ("ko", "한국의 수도는 서울입니다."),
        ("ar", "عاصمة مصر هي القاهرة."),
        ("el", "Η πρωτεύουσα της Ελλάδας είναι η Αθήνα."),
        ("he", "בירת ישראל היא ירושלים."),
        ("th", "เมืองหลวงของประเทศไทยคือกรุงเทพมหานคร"),
        ("hi", "भारत की राजधानी नई दिल्ली है।"),
        (
            "nl",
            "De hoofdstad van Nederland is Amsterdam, en het is een mooie stad.",
        ),
        ("pl", "Stolicą Polski jest Warszawa, a ja lubię to miasto."),
        (
            "sv",
            "Sveriges huvudstad heter Stockholm och jag tycker om den.",
        ),
    ];

    #[test]
    fn golden_answers() {
        let others: Vec<&str> = OTHERS.iter().map(|(_, text)| *text).collect();
        let without = |own: &[&'static str]| [own, &others].concat();
        table("language", r#"{"value": "en"}"#, ENGLISH, &without(CHINESE));
        table("language", r#"{"value": "zh"}"#, CHINESE, &without(ENGLISH));
        for (code, text) in OTHERS {
            table(
                "language",
                &format!(r#"{{"value": "{code}"}}"#),
                &[text],
                &[ENGLISH[0], CHINESE[0]],
            );
        }
        table(
            "language",
            r#"{"value": ["en", "zh"]}"#,
            &[ENGLISH[1], CHINESE[1]],
            &others,
        );
    }

    #[test]
    fn what_cannot_be_told_is_unscored() {
        for text in ["", "Paris", "42", "New York City", "```\nx = 1\n```", "!?"] {
            let score = judge("language", r#"{"value": "en"}"#, text);
            assert_eq!(score.value(), None, "{text}: {score:?}");
        }
    }

    #[test]
    fn evidence_and_errors() {
        insta::assert_snapshot!(
            [
                judge("language", r#"{"value": ["zh", "ja"]}"#, ENGLISH[0]).explanation().to_owned(),
                judge("language", r#"{"value": "en"}"#, "Paris.").explanation().to_owned(),
                refused("language", r#"{"value": "english"}"#),
            ]
            .join("\n"),
            @r#"
        written in `en` (`zh` or `ja` wanted): "The capital of France is Paris."
        less than 4 words: too few to tell the language: "Paris."
        check `language`: `value` has "english" (a language is ar, cs, da, de, el, en, es, fi, fr, he, hi, hu, id, it, ja, ko, nl, pl, pt, ro, ru, sv, th, tr, uk, vi, or zh)
        "#
        );
    }
}
