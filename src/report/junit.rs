//! JUnit XML: a suite is a testsuite, a probe a testcase, and a verdict a testcase of its own.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::text::harmless;

/// One test and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct TestResult {
    /// Name of the testsuite: the suite, or `verdict`.
    pub suite: String,
    /// Name of the testcase.
    pub name: String,
    /// The failure's text; `None` when it passed.
    pub failure: Option<String>,
    /// What it says beside passing or failing; `None` when there is nothing to say.
    pub output: Option<String>,
    /// Numbers beside it, such as the scores of base and candidate.
    pub properties: Vec<(String, String)>,
    /// How long it took.
    pub took: Duration,
}

/// The XML of a run's tests.
///
/// # Errors
/// None that this input can cause; the writer's signature has one.
pub fn junit(name: &str, results: &[TestResult]) -> Result<String, quick_junit::SerializeError> {
    let name = &*harmless(name);
    let mut report = Report::new(name);
    for result in results {
        let mut status = TestCaseStatus::success();
        if let Some(failure) = &result.failure {
            status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            let failure = harmless(failure);
            status.set_message(failure.lines().next().unwrap_or_default());
            status.set_description(&*failure);
        }
        let mut case = TestCase::new(&*harmless(&result.name), status);
        case.set_classname(format!("{name}.{}", harmless(&result.suite)));
        case.set_time(result.took);
        if let Some(output) = &result.output {
            case.set_system_out(output.as_str());
        }
        for (key, value) in &result.properties {
            case.add_property((&*harmless(key), &*harmless(value)));
        }
        let at = report
            .test_suites
            .iter()
            .position(|suite| suite.name.as_str() == result.suite);
        let at = at.unwrap_or_else(|| {
            report.add_test_suite(TestSuite::new(result.suite.as_str()));
            report.test_suites.len() - 1
        });
        report.test_suites[at].add_test_case(case);
    }
    let failures = |suite: &TestSuite| suite.failures;
    report.tests = report.test_suites.iter().map(|s| s.tests).sum();
    report.failures = report.test_suites.iter().map(failures).sum();
    report.to_string()
}
