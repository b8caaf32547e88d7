//! The suites as tests: what `qeval::harness` is to a user's crate. Without a project of its own
//! this crate gates the fixture model's adapters, of which the harmful one must fail.

fn main() -> std::process::ExitCode {
    qeval::harness::Harness::default()
        .otherwise("fixtures/gate/good.toml")
        .must_fail("fixtures/gate/harmful.toml")
        .main()
}
