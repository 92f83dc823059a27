"""Traces as other tools keep them: runs of LangSmith, spans of OpenInference; and decisions as one file."""
