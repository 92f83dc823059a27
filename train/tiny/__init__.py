"""The tiny base: a transformer of about a million parameters that behaves as an untrained memory agent does.

    tokens.py ─► the tokenizer            habits.py ─► what an untrained agent says
    demonstrations.py ─► prompts and replies         recipe.py ─► the weights (python -m langgraph_memory_r1.train.tiny.recipe)

It can read the compact prompts of its two roles and write every operation and every answer without a slip; what it
does badly is to choose among them. That is what reinforcement learning is for, and what the proof on a laptop shows.
"""
