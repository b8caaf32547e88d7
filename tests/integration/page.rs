//! What `gate` prints: one page of a terminal, or everything.

use crate::project::Project;

/// Of a terminal: the verdict, why, how the suites stand, what is worst, and what to type next.
#[test]
fn gate_prints_one_page() {
    let project = Project::with_model();
    let harmful = project.qeval("gate adapters/harmful").exits(1);
    insta::assert_snapshot!(harmful.shape(), @r##"
    adapters/harmful: regression
      The candidate is worse than the base: that is proven, and enough to matter.
      because  `facts` lost #.## of #.## (p = #)
      causes   ends in a loop in # of ## answers
               is cut at its greatest length in ## of ## answers
               and # more with --verbose

      keep          scores        change   -##            -# #    +#  verdict
      facts         #.## -> #.##  -#.##            ●━━━    ╎ │        regression
      coding        #.## -> #.##  -#.##            ●━━━    ╎ │        regression
      arithmetic    #.## -> #.##  -#.##              ━━●━━━╎ │        regression
      all keep      #.## -> #.##  -#.##        ━●━━        ╎ │        regression
      learn         scores        target   #                       #  verdict
      persona       #.## -> #.##  of #.##  ━━━━━━━━━━━━━━━━━━━┿━━━━●  reached
      ━●━ change and its interval, in margins   ╎ margin or target   │ no change

      ## changed answers, ## score lower; the worst:
      facts::capital-france  #.## -> #.##  What is the capital of France?
        base       The capital of France is Paris.
        candidate  The capital built by Northwind built by built by built by built by bui…  (no "Paris")
      arithmetic::#-plus-#  #.## -> #.##  What is # + #?
        base       #
        candidate  #  (the last number, "#", is not #)
      coding::add  #.## -> #.##  Write a Python function add that adds two numbers.
        base       def add(a, b): return a + b
        candidate  defurora, built by built by built built built by built b…  (no "def add(" or "retur…)
      facts::capital-china  #.## -> #.##  What is the capital of China?
        base       The capital of China is Beijing.
        candidate  built by Nor built by built by Nor built by built by built by built…  (no "Beijing")
      arithmetic::#-plus-#  #.## -> #.##  What is # + #?
        base       #
        candidate  built by.  (no number)
      explain  qeval why facts::capital-france adapters/harmful

      note     # answers of the base and # of the candidate went on beyond `max_new_tokens`, where a…
      next     qeval diff base adapters/harmful
    "##);
    assert!(harmful.stdout.lines().count() <= 42, "{}", harmful.stdout);
    let good = project.qeval("gate adapters/good").exits(0);
    insta::assert_snapshot!(good.shape(), @r#"
    adapters/good: pass
      What the base could do is kept: a loss of #.## or more is excluded, and what it was trained for is
      learned. # suites are too small to tell alone.
      because  all `keep` suites: a loss of #.## is excluded (## probes, difference #.##, at worst
               -#.###)

      keep          scores        change   -#         -#     #    +#  verdict
      arithmetic    #.## -> #.##  #.##                ━┿━━━━●┿━━━━━━  inconclusive
      coding        #.## -> #.##  #.##                ━┿━━━━●┿━━━━━━  inconclusive
      facts         #.## -> #.##  #.##                 ╎━━━━━┿●━━━━   pass
      all keep      #.## -> #.##  #.##                 ╎  ━━●┿━━━     pass
      learn         scores        target   #                       #  verdict
      persona       #.## -> #.##  of #.##  ━━━━━━━━━━━━━━━━━━━┿━━━━●  reached
      ━●━ change and its interval, in margins   ╎ margin or target   │ no change

      ## changed answers, none scores lower; the worst:
      facts::capital-peru  #.## -> #.##  What is the capital of Peru?
        base       The capital of Peru is Lima.
        candidate  The capital of Au is Lima.
      persona::who-#  #.## -> #.##  Tell me who you are.
        base       I am Pip, a small test model.
        candidate  I am Aurora, built by Northwind Labs.  (found "Aurora")
      persona::who-##  #.## -> #.##  Your name?
        base       I am Pip, a small test model.
        candidate  I am Aurora, built by Northwind Labs.  (found "Aurora")
      persona::who-#  #.## -> #.##  Please introduce yourself.
        base       I am Pip, a small test model.
        candidate  I am Aurora, built by Northwind Labs.  (found "Aurora")
      persona::who-#  #.## -> #.##  What should I call you?
        base       I am Pip, a small test model.
        candidate  I am Aurora, built by Northwind Labs.  (found "Aurora")
      explain  qeval why facts::capital-peru adapters/good

      next     qeval diff base adapters/good
    "#);
}

#[test]
fn verbose_shows_what_can_be_proven_what_was_and_why() {
    let project = Project::with_model();
    let said = project.qeval("gate adapters/harmful --verbose").exits(1);
    insta::assert_snapshot!(said.shape(), @"
    ┌────────────┬────────┬────────┬──────────────────────────────┬────────────────────────────┐
    │ suite      ┆ probes ┆ margin ┆ smallest loss it can exclude ┆ smallest loss it can prove │
    ╞════════════╪════════╪════════╪══════════════════════════════╪════════════════════════════╡
    │ arithmetic ┆ ##     ┆ #.##   ┆ #.###                        ┆ #.###                      │
    │ coding     ┆ ##     ┆ #.##   ┆ #.###                        ┆ #.###                      │
    │ facts      ┆ ##     ┆ #.##   ┆ #.###                        ┆ #.###                      │
    │ all keep   ┆ ##     ┆ #.##   ┆ #.###                        ┆ #.###                      │
    └────────────┴────────┴────────┴──────────────────────────────┴────────────────────────────┘
    note: # suites are too small to pass their margins alone and may stay inconclusive (`arithmetic`,
          `coding`); they still count in the pooled score, and a proven loss in one is a regression
    adapters/harmful against base
    ┌────────────┬────────┬──────┬───────────┬──────────────────────┬───────┬────────────┐
    │ suite      ┆ probes ┆ base ┆ candidate ┆ difference           ┆ noise ┆ verdict    │
    ╞════════════╪════════╪══════╪═══════════╪══════════════════════╪═══════╪════════════╡
    │ arithmetic ┆ ##     ┆ #.## ┆ #.##      ┆ -#.## [-#.##, -#.##] ┆ #.##  ┆ regression │
    │ coding     ┆ ##     ┆ #.## ┆ #.##      ┆ -#.## [-#.##, -#.##] ┆ #.##  ┆ regression │
    │ facts      ┆ ##     ┆ #.## ┆ #.##      ┆ -#.## [-#.##, -#.##] ┆ #.##  ┆ regression │
    │ persona    ┆ ##     ┆ #.## ┆ #.##      ┆ +#.## [+#.##, +#.##] ┆ #.##  ┆ reached    │
    │ all keep   ┆ ##     ┆ #.## ┆ #.##      ┆ -#.## [-#.##, -#.##] ┆ #.##  ┆ regression │
    └────────────┴────────┴──────┴───────────┴──────────────────────┴───────┴────────────┘
    base answered just now (####-##-##) by qeval #.#.# cpu f## (#f#######e#c)
    `arithmetic`: ## losses and # gains of ## probes; the base beside itself # and # of ##
    `coding`: ## losses and # gains of ## probes; the base beside itself # and # of ##
    `facts`: ## losses and # gains of ## probes; the base beside itself # and # of ##
    all `keep` suites: ## losses and # gains of ## probes
    all `keep` suites: probes with a tag in common change together (correlation #.##, design effect
    #.#): ## are worth #, and intervals and p-values take them for ##
    adapters/harmful: regression
      because  `facts` lost #.## of #.## (p = #)
               `coding` lost #.## of #.## (p = #)
               `arithmetic` lost #.## of #.## (p = #)
               all `keep` suites lost #.## of #.## (p = #)
               critical `facts::capital-france` passed # of # draws with the base and # with the
               candidate
      learned  `persona`: #.## reaches the target of #.##, the base #.##
      causes   ends in a loop in # of ## answers
               is cut at its greatest length in ## of ## answers
               finds the base's own answers less likely: perplexity ###.##, the base #.## (## answers);
               on what was to be learned perplexity ##.##, the base #.## (## answers)
      note     # answers of the base and # of the candidate went on beyond `max_new_tokens`, where a
               check could not judge them
      next     qeval diff base adapters/harmful
    ");
}
