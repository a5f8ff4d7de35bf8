"""The plan of a build, and its keys: a form that may not change unnoticed. test_plan.py says what to do then."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ci_env import codec
from ci_env.digest import Digest, Json
from ci_env.dockerfile.model import Copy, Run
from ci_env.plan import keys
from ci_env.plan.build import Origin, Stage, Surroundings, compile_build
from ci_env.plan.plan import FIXED_EPOCH, Image, Plan, Source, SourceLayer

FILE = Path(__file__).with_name("build.json")
UPDATE = os.environ.get("CI_ENV_UPDATE_GOLDEN") == "1"
DEBIAN = Image("debian:12", Digest.of(b"manifest"), (Digest.of(b"1"), Digest.of(b"2")), None, "linux/amd64")
SCRATCH = Image("scratch", None, (), None, "linux/amd64")
CONTEXT = Origin(context=SourceLayer(keys.context_layer(Digest.of(b"src"), epoch=FIXED_EPOCH), ("src",)))
COPY = Copy(None, ("src",), (), "/src/", "web", 0o644, False, "COPY --chown=web src /src/", "Dockerfile:2")
RUN = Run(("/bin/sh", "-c", "make"), {"A": "ü"}, "web", "/src", None, ("/cache",), "RUN make", "Dockerfile:3")
TEXT = Copy(None, (), (("motd", "hello\n"),), "/etc/", None, None, False, "COPY <<motd /etc/", "Dockerfile:5")
FROM_STAGE = Copy("0", ("src/out",), (), "/out", None, None, True, "ADD --from=0 src/out /out", "Dockerfile:6")
STAGES = (
    Stage("build", DEBIAN, None, ((COPY, CONTEXT), (RUN, Origin()))),
    Stage("more", DEBIAN, "build", ((RUN, Origin()),)),
    Stage("stage-2", SCRATCH, None, ((TEXT, Origin()), (FROM_STAGE, Origin(job="more")), (COPY, Origin(image=DEBIAN)))),
)


def plan() -> Plan:
    source = Source("directory", Digest.of(b"context"), None, dirty=False, epoch=FIXED_EPOCH)
    return compile_build(STAGES, source, Surroundings(Digest.of(b"project"), "host"))


def written() -> Json:
    made = plan()
    preimages: Json = {
        f"{job.name}/{step.name}": dict(keys.preimage_in(made, job, step)) for job in made.jobs for step in job.steps
    }
    return {"plan": codec.encode(made), "preimages": preimages}


def test_is_what_it_was() -> None:
    text = json.dumps(written(), indent=1, ensure_ascii=False) + "\n"
    if UPDATE:
        FILE.write_text(text)
    assert text == FILE.read_text(), f"{FILE.name} changed; test_plan.py says what to do"


def test_the_written_plan_is_read_back() -> None:
    assert codec.decode(Plan, json.loads(FILE.read_text())["plan"]) == plan()
