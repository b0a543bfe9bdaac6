"""What a Job, its pods and a cluster's nodes mean, in one line with the mend."""

from __future__ import annotations

from typing import Any

import pytest

from simcloud.dataset.layout import RunLocation
from simcloud.errors import NotFound, NotReady, PermissionDenied, PreconditionFailed
from simcloud.gpu import Gpu
from simcloud.spec.plan import Plan
from simcloud_cli.gpufindings import gpu_findings, vulkan_problem
from simcloud_cli.kubernetes.gpunodes import judge
from simcloud_cli.kubernetes.jobstate import JobState, Phase, job_state, newest, troubles
from simcloud_cli.kubernetes.kubectl import refusal
from simcloud_cli.kubernetes.manifests import RunJob, nameable, run_label
from simcloud_cli.kubernetes.standstill import Standstill, kept_from_starting
from simcloud_cli.kubernetes.submit import Attach, Nothing, Submit, decide
from support.clock import ManualClock

Manifest = dict[str, Any]


def job(attempt: int = 1, **status: object) -> Manifest:
    return {
        "metadata": {
            "name": f"showroom-{attempt}",
            "labels": {"simcloud.dev/attempt": str(attempt)},
        },
        "spec": {"completions": 4},
        "status": status,
    }


def ended(kind: str, reason: str = "", message: str = "") -> list[Manifest]:
    return [{"type": kind, "status": "True", "reason": reason, "message": message}]


def test_a_job_is_active_until_it_says_that_it_has_ended() -> None:
    assert job_state(job(active=2)).phase is Phase.ACTIVE
    assert job_state(job(conditions=ended("FailureTarget"))).phase is Phase.ACTIVE
    assert job_state(job(conditions=ended("Complete"))).phase is Phase.COMPLETE
    failed = job_state(job(conditions=ended("Failed", "FailedIndexes"), failedIndexes="0,2-3"))
    assert failed.phase is Phase.FAILED
    assert failed.failed_indexes == (0, 2, 3)


def test_the_newest_attempt_counts() -> None:
    found = newest([job(2, active=1), job(10, conditions=ended("Complete")), job(1)])
    assert found is not None
    assert (found.attempt, found.phase) == (10, Phase.COMPLETE)
    assert newest([]) is None


def state(phase: Phase) -> JobState:
    return job_state(
        job(3, conditions=[] if phase is Phase.ACTIVE else ended(phase.value.title(), "Why"))
    )


@pytest.mark.parametrize(
    ("there", "missing", "resume", "what"),
    [
        (None, 4, False, Submit(1)),
        (None, 0, False, Nothing()),
        (Phase.ACTIVE, 4, False, Attach("showroom-3")),
        (Phase.ACTIVE, 0, True, Attach("showroom-3")),
        (Phase.COMPLETE, 0, False, Nothing()),
        (Phase.FAILED, 2, True, Submit(4)),
    ],
)
def test_a_run_is_joined_made_or_found_complete(
    there: Phase | None, missing: int, resume: bool, what: object
) -> None:
    found = None if there is None else state(there)
    assert decide(found, missing=missing, resume=resume) == what


def test_an_ended_job_with_shards_missing_is_told_and_not_repeated_unasked() -> None:
    with pytest.raises(
        PreconditionFailed, match=r"showroom-3 is failed \(Why\).*2 shards.*--resume"
    ):
        decide(state(Phase.FAILED), missing=2, resume=False)


def waiting(reason: str, message: str = "") -> Manifest:
    return {
        "initContainerStatuses": [
            {
                "name": "generator",
                "image": "registry/simcloud-generator:9",
                "state": {"waiting": {"reason": reason, "message": message}},
            }
        ]
    }


def terminated(code: int, reason: str = "Error") -> Manifest:
    return {
        "phase": "Failed",
        "containerStatuses": [
            {"name": "run", "state": {"terminated": {"exitCode": code, "reason": reason}}}
        ],
    }


def unschedulable(message: str) -> Manifest:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    return {"phase": "Pending", "conditions": [{**condition, "message": message}]}


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (waiting("ImagePullBackOff"), "ImagePullBackOff", ("simcloud-generator:9", "`images:`")),
        (
            waiting("CreateContainerConfigError", 'secret "s3-credentials" not found'),
            "CreateContainerConfigError",
            ("s3-credentials", "correct the overlay"),
        ),
        (unschedulable("0/3: 3 Insufficient nvidia.com/gpu"), "Unschedulable", ("G-family",)),
        (unschedulable("0/3: 3 Insufficient cpu"), "Unschedulable", ("Insufficient cpu",)),
        (terminated(137, "OOMKilled"), "OOMKilled", ("1Gi", "raise its limit")),
        (terminated(3), "ExitCode3", ("frames are missing", "kubectl logs")),
        (terminated(137), "ExitCode137", ("killed",)),
        (
            {
                "phase": "Failed",
                "conditions": [
                    {
                        "type": "DisruptionTarget",
                        "status": "True",
                        "reason": "DeletionByTaintManager",
                    }
                ],
                **terminated(143),
            },
            "DisruptionTarget",
            ("DeletionByTaintManager", "started again"),
        ),
    ],
)
def test_what_is_wrong_with_a_pod_is_one_line_with_its_mend(
    status: Manifest, kind: str, words: tuple[str, ...]
) -> None:
    pod = {
        "metadata": {
            "name": "showroom-1-2-abcde",
            "annotations": {"batch.kubernetes.io/job-completion-index": "2"},
        },
        "spec": {
            "containers": [{"name": "run", "resources": {"limits": {"memory": "1Gi"}}}],
            "initContainers": [{"name": "generator"}],
        },
        "status": status,
    }
    (found,) = troubles([pod])
    assert found.kind == kind
    assert found.line.startswith("pod showroom-1-2-abcde (index 2): ")
    assert "\n" not in found.line
    for word in words:
        assert word in found.line


def test_of_pods_at_work_nothing_is_told() -> None:
    running = {"phase": "Running", "containerStatuses": [{"name": "run", "state": {"running": {}}}]}
    pod = {"metadata": {"name": "a"}, "spec": {"containers": []}, "status": running}
    assert list(troubles([pod])) == []


RUNNING: Manifest = {"phase": "Running"}
STARTING: Manifest = {
    "phase": "Pending",
    "containerStatuses": [{"name": "run", "state": {"waiting": {"reason": "ContainerCreating"}}}],
}
NO_IMAGE: Manifest = {"phase": "Pending", **waiting("ImagePullBackOff")}
NO_SECRET: Manifest = {"phase": "Pending", **waiting("CreateContainerConfigError", "no secret")}
NO_NODE = unschedulable("0/3: 3 Insufficient cpu")


def pods(*statuses: Manifest) -> list[Manifest]:
    spec = {"containers": [{"name": "run"}]}
    return [
        {"metadata": {"name": f"pod-{index}"}, "spec": spec, "status": status}
        for index, status in enumerate(statuses)
    ]


@pytest.mark.parametrize(
    ("statuses", "stuck"),
    [
        ((NO_IMAGE, NO_SECRET, NO_NODE), 3),
        ((NO_IMAGE, terminated(1)), 1),
        ((), 0),
        ((NO_NODE, RUNNING), None),
        ((NO_NODE, STARTING), None),
        ((terminated(1), STARTING), None),
    ],
)
def test_a_job_stands_still_when_no_pod_of_it_can_start(
    statuses: tuple[Manifest, ...], stuck: int | None
) -> None:
    found = kept_from_starting(pods(*statuses))
    assert (None if found is None else len(found)) == stuck


def test_a_standstill_is_told_after_its_patience_and_a_pod_that_starts_ends_it() -> None:
    clock = ManualClock()
    watch = Standstill(patience_s=900, clock=clock)
    active = state(Phase.ACTIVE)
    for statuses in ([NO_IMAGE, NO_NODE], [NO_IMAGE, NO_NODE], [STARTING], [NO_NODE]):
        watch.check(active, pods(*statuses))
        clock.advance(800)
    suspended = job_state({**job(3), "spec": {"completions": 4, "suspend": True}})
    clock.advance(800)
    watch.check(suspended, [])
    watch.check(active, pods(NO_IMAGE, NO_NODE))
    clock.advance(900)
    with pytest.raises(PreconditionFailed) as told:
        watch.check(active, pods(NO_IMAGE, NO_NODE))
    message = told.value.message
    assert "no pod of Job showroom-3 could start for 15 min: pod pod-0" in message
    assert "can't be pulled" in message
    assert "(and 1 more)" in message
    assert "\n" not in message
    with pytest.raises(PreconditionFailed, match="there is none"):
        watch.check(active, [])


def location(run: str) -> RunLocation:
    return RunLocation(bucket="simcloud", prefix="team", run=run)


@pytest.mark.parametrize("run", ["showroom", "a.b_c-1", "x" * 64, "9_"])
def test_every_run_has_a_jobs_name_of_its_own(run: str) -> None:
    label = run_label(location(run))
    assert label == run_label(location(run))
    assert label != run_label(RunLocation(bucket="simcloud", prefix="", run=run))
    made = RunJob(
        location=location(run),
        plan=Plan(frames=10, frames_per_shard=1),
        shards=tuple(range(10)),
        shards_per_task=3,
        parallelism=9,
        attempt=12,
        allow_mixed_fingerprints=False,
        allow_quarantine=0,
    )
    # A pod's host name: <job>-<index>.
    assert len(f"{made.name}-99999") <= 63
    assert made.completions == 4
    assert made.arguments()[:3] == [
        "resume",
        f"s3://simcloud/team/{run}",
        "--shards=auto:0-9",
    ]


def test_too_many_ranges_for_a_command_line_are_closed() -> None:
    every_other = tuple(range(0, 60_000, 2))
    closed = nameable(every_other)
    assert set(every_other) <= set(closed)
    assert nameable((1, 5, 9)) == (1, 5, 9)


@pytest.mark.parametrize(
    ("labels", "ok"),
    [
        ({"nvidia.com/gpu.product": "NVIDIA-L40S"}, True),
        ({"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}, False),
        ({"node.kubernetes.io/instance-type": "g6e.2xlarge"}, True),
        ({"node.kubernetes.io/instance-type": "p5.48xlarge"}, False),
        ({"node.kubernetes.io/instance-type": "unheard-of"}, True),
    ],
)
def test_nodes_render_by_their_gpus_name_or_instance_family(
    labels: dict[str, str], ok: bool
) -> None:
    there = {
        "metadata": {"name": "node", "labels": labels},
        "status": {"allocatable": {"nvidia.com/gpu": "1"}},
    }
    found = judge([there], pools=[])
    assert found.ok is ok
    if not ok:
        assert "G family" in found.detail


def test_without_gpu_nodes_a_node_pool_will_do() -> None:
    bare = {"metadata": {"name": "cpu"}, "status": {"allocatable": {"cpu": "8"}}}
    assert "device plug-in" in judge([bare], pools=[]).detail
    assert not judge([bare], pools=[]).ok
    assert judge([bare], pools=[{"metadata": {"name": "simcloud-isaac"}}]).ok


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Unable to connect to the server: dial tcp: lookup c: no such host", NotReady),
        ("The connection to the server 127.0.0.1:1 was refused - did you specify", NotReady),
        ('error: context "x" does not exist', NotFound),
        ('Error from server (Forbidden): jobs.batch is forbidden: User "a"', PermissionDenied),
        ('Error from server (NotFound): namespaces "simcloud" not found', NotFound),
        ("Error from server (Invalid): Job is invalid: spec.completions", PreconditionFailed),
    ],
)
def test_kubectls_words_become_an_error_of_who_must_act(said: str, kind: type) -> None:
    error = refusal(f"E1121 20:00:00.0 1 memcache.go:265] noise\n{said}\n")
    assert type(error) is kind
    assert "noise" not in error.message
    assert "\n" not in error.message


H200 = Gpu(0, "NVIDIA H200", "580.95.05", 143_771)
L40S = Gpu(0, "NVIDIA L40S", "550.54.14", 46_068)


def test_a_gpu_that_isaac_cannot_use_is_a_note_unless_isaac_is_asked_for() -> None:
    notes = gpu_findings([H200], asked_for=False, vulkan="no Vulkan")
    assert all(item.ok for item in notes)
    assert "note, for Isaac Sim only: NVIDIA H200 has no RT cores" in notes[0].detail
    wrong = [
        item for item in gpu_findings([L40S], asked_for=True, vulkan="no Vulkan") if not item.ok
    ]
    assert [item.name for item in wrong] == ["GPU 0 driver", "Vulkan"]
    assert "older than 570.169" in wrong[0].detail


def test_no_gpu_is_a_note_unless_isaac_is_asked_for() -> None:
    assert gpu_findings([], asked_for=False, vulkan="")[0].ok
    assert not gpu_findings([], asked_for=True, vulkan="")[0].ok


def test_vulkan_needs_the_drivers_description() -> None:
    assert "/nowhere/icd.json" in vulkan_problem(
        ["/nowhere/icd.json"], library="libGLX_nvidia.so.0"
    )
