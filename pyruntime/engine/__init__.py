"""Walks a plan across the host process and the container's init process.

The protocol. Both processes hold the same plan and walk it from the clone3 step on; each runs the steps of its own
side. Where the side changes from one step to the next, the one that has just run tells the other to go on:

    host                                   init
    ─────                                  ────
    steps … clone3 ───────────────────────▶ (born)
    host steps
         ── GO [+ shared descriptors] ────▶
    host steps with `meanwhile`             init steps
         ◀── GO [+ shared descriptors] ──
    host steps
         ── GO ───────────────────────────▶ …
                                            await_start, exec_program
    Steps with `meanwhile` stand behind those of init that they don't wait for. What comes after them waits for both.
    A step that fails: ERROR (position in the plan, errno, inner call, …); the sender exits. The receiver has the same
    plan, looks the step up in it and raises the same StepFailure; a step that the sender does not run is refused.
    After await_start the receiver is `start`, another command, which has no plan: for it the message has the words, the
    place and the hint too. exec_program, which may be below a seccomp filter, sends errno and call only.
    The other end is closed without a word: the peer died; the walk ends.
"""
