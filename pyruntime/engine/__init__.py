"""Walks a plan across the host process and the container's init process.

The protocol. Both processes hold the same plan and walk it from the clone3 step on; each runs the steps of its own
side. Where the side changes from one step to the next, the process that ran the last step sends the other a GO:

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
    Host steps with `meanwhile` follow the steps of init that they need not wait for; the next step waits for both.
    A step fails: ERROR (position in the plan, errno, inner call, …), and the sender exits. The receiver looks the step
    up in its own copy of the plan and raises the same StepFailure; it refuses a step that the sender does not run.
    After await_start the receiver is `start`, another command, which has no plan: for it the message also carries the
    reason as text, the pointer and the hint. exec_program, which may run under a seccomp filter, sends only errno and
    call.
    The other end closes without a message: the peer died, and the walk ends.
"""
