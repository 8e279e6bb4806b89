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
    A step that fails: ERROR (step, errno, text); the sender exits, the receiver raises it.
    The other end is closed without a word: the peer died; the walk ends.
"""
