"""Chat models that judge replies: by a rubric, by a list of questions, or beside another reply.

Judges get fooled. So what they are shown is data in a field that it can't leave (`asking`), known tricks are found by
rules before any judge is asked (`tricks`), and what is no clear answer is a failed score (`verdicts`)."""
