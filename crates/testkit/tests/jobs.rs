//! Running a job: on this machine and inside an image, its environment, output, memory, signals. A shell is the job.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use longshore_testkit::Job;
use longshore_testkit::job::Signal;

fn shell(script: &str) -> Job {
    Job::new(["-c", script]).binary("/bin/sh").limit(Duration::from_secs(60))
}

#[tokio::test]
async fn output_code_and_a_cleared_environment() {
    for job in [shell("env; echo err >&2; exit 66"), shell("env; echo err >&2; exit 66").inside_postgres(17)] {
        let outcome = job.env("CANARY", "with space").run().await.expect_code(66);
        assert!(outcome.stdout.contains("CANARY=with space\n"), "{}", outcome.report());
        assert!(!outcome.stdout.contains("CARGO"), "{}", outcome.report());
        assert_eq!(outcome.stderr, "err\n");
    }
}

#[tokio::test]
async fn a_signal_is_sent_when_a_line_appears() {
    let script = "trap 'echo stopped; exit 74' TERM; echo ready >&2; while :; do sleep 0.05; done";
    for job in [shell(script), shell(script).inside_postgres(17)] {
        let outcome = job.run_and_signal("ready", Signal::Terminate).await.expect_code(74);
        assert_eq!(outcome.stdout, "stopped\n");
    }
    for job in [shell(script), shell(script).inside_postgres(17)] {
        let outcome = job.run_and_signal("ready", Signal::Kill).await;
        assert_eq!((outcome.code, outcome.signal), (None, Some(9)), "{}", outcome.report());
    }
}

#[tokio::test]
async fn memory_is_that_of_the_job_not_of_the_test() {
    // The test itself has 64 MB resident when it starts the job.
    let ballast = vec![1_u8; 64 << 20];
    let script = "echo ready >&2; read -r line </dev/null; sleep 0.3";
    for job in [shell(script), shell(script).inside_postgres(17)] {
        let outcome = job.run().await.success();
        let bytes = outcome.max_rss.expect("sampled");
        assert!((100_000..32 << 20).contains(&bytes), "{bytes} bytes: {}", outcome.report());
    }
    assert_eq!(ballast.iter().map(|byte| u64::from(*byte)).sum::<u64>(), 64 << 20);
}

#[tokio::test]
async fn directories_are_there_inside_an_image_too() {
    let shared = tempfile::tempdir().unwrap();
    std::fs::write(shared.path().join("in"), "from the host").unwrap();
    let job = shell("cat in; pg_dump --version; echo done > out").directory(shared.path()).inside_postgres(17);
    let outcome = job.run().await.success();
    assert!(outcome.stdout.starts_with("from the host") && outcome.stdout.contains(") 17."), "{}", outcome.report());
    assert_eq!(std::fs::read_to_string(shared.path().join("out")).unwrap(), "done\n");
}

#[tokio::test]
#[should_panic(expected = "told before it was killed")]
async fn a_job_that_does_not_end_is_killed_and_its_output_shown() {
    shell("echo told before it was killed; exec sleep 600").limit(Duration::from_millis(300)).run().await;
}

#[tokio::test]
async fn a_skip_is_printed_and_recorded() {
    // The file is for the test script; here only that a skipped test ends without failing.
    longshore_testkit::skip!("checking {}", "the macro");
}
