"""Questions with gold answers: public benchmarks, read as the library's `Conversation`; loaders only, never data."""
