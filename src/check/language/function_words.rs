//! The language of a short sentence by its function words: articles, prepositions, pronouns.
//!
//! Half of the words of running text are function words, and few languages share many of them, so
//! they tell short sentences apart better than letter trigrams do (Grefenstette 1995, "Comparing
//! two language identification schemes": the two methods meet at about 15 words).

use crate::text::words;

/// Fewest function words that decide, and how many times more than the next language has.
const LEAST_HITS: usize = 2;
const AHEAD: f64 = 1.5;

/// Function words by ISO 639-1 code; a word before an apostrophe (`l'`) stands without it.
const FUNCTION_WORDS: &[(&str, &str)] = &[
    (
        "cs",
        "je se na v a že to s z do o jsou není ale jako by si pro po k byl jeho který",
    ),
    (
        "da",
        "og er en et det at i på som af for ikke med den jeg han hun vi de til om har når men",
    ),
    (
        "de",
        "der die das ein eine einen ist sind war und in zu den von mit nicht auf für es ich sie er \
         wir als im dem des auch wenn wie bei aus hat sich an nach oder mein man",
    ),
    (
        "en",
        "the a an is are was were of and in to it that for with on you i not this be by as at from \
         have has had do does when they he she his her my your we our can will would there which \
         or if but about who what how its their so",
    ),
    (
        "es",
        "el la los las un una es son de del y en que por con para no se al su lo como más cuando \
         pero muy está me mi yo nos desde fue hay o porque si le",
    ),
    (
        "fi",
        "on ja ei se että hän mutta kun ovat oli minä sinä myös joka tai jos niin",
    ),
    (
        "fr",
        "le la les un une des est sont de du et en que qui il elle je ne pas pour dans sur avec ce \
         cette au aux nous vous quand depuis mais plus par se son sa ou on a l d n j c s qu été si \
         comme mes il",
    ),
    (
        "hu",
        "a az és nem hogy egy is van de ez meg volt mint csak el ha",
    ),
    (
        "id",
        "yang dan di ini itu adalah dengan untuk tidak dari saya ke pada dalam akan bisa",
    ),
    (
        "it",
        "il lo la i gli le un una è sono di del della e in che non per con si al dei da come più \
         ma quando questo mi nel nella l d c dell all un anche se ho",
    ),
    (
        "nl",
        "de het een is zijn en van in te dat niet op met voor ik je hij zij wij als aan er maar om \
         ook naar door bij wordt die was of",
    ),
    (
        "pl",
        "i w jest nie na się z do to że jak o ale co są po dla od czy który tym ja jego był",
    ),
    (
        "pt",
        "o a os as um uma é são de do da e em que não para com se no na dos das por mais como eu \
         mas quando muito seu sua foi ao meu",
    ),
    (
        "ro",
        "și este în de nu o un că la cu pe din sunt mai dar care pentru ce a fost se",
    ),
    (
        "sv",
        "och är en ett det att i på som av för inte med den jag han hon vi de till om har när men",
    ),
    (
        "tr",
        "ve bir bu da de için ile çok mi değil ama olarak daha ben sen ne o gibi",
    ),
    (
        "vi",
        "là và của có không một trong cho được những người tôi với các ở này đã",
    ),
];

/// Languages that are hardly ever written without a letter outside ASCII: a sentence without one
/// is none of theirs, though `a` and `is` are words of theirs too.
const ACCENTED: [&str; 6] = ["cs", "hu", "pl", "ro", "tr", "vi"];

/// Whether a language's function words are known: those written in Latin letters are.
pub(super) fn has_function_words(code: &str) -> bool {
    FUNCTION_WORDS.iter().any(|(known, _)| *known == code)
}

/// The language whose function words are clearly the most frequent, or, of several that are about
/// as frequent, the one in `wanted`; `None` where no language is.
pub(super) fn by_function_words(text: &str, wanted: &[&'static str]) -> Option<&'static str> {
    let said = words(text);
    let said: Vec<&str> = said.iter().flat_map(|word| word.split('\'')).collect();
    let mut hits: Vec<(usize, &'static str)> = FUNCTION_WORDS
        .iter()
        .map(|(code, list)| {
            let known: Vec<&str> = list.split_whitespace().collect();
            let foreign = text.is_ascii() && ACCENTED.contains(code);
            let count = said.iter().filter(|word| known.contains(word)).count();
            (if foreign { 0 } else { count }, *code)
        })
        .collect();
    hits.sort_by(|a, b| b.cmp(a));
    let (&(most, code), &(next, _)) = hits.first().zip(hits.get(1))?;
    let tied = hits.iter().take_while(|(count, _)| *count == most);
    if let Some((_, code)) = tied.clone().find(|(_, code)| wanted.contains(code))
        && most > 0
    {
        return Some(code);
    }
    (most >= LEAST_HITS && most as f64 >= AHEAD * next as f64).then_some(code)
}
