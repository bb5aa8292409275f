"""Everything that exists because of LLaVA-Med's files: download, merge, convert, tensor names, conversation modes."""
