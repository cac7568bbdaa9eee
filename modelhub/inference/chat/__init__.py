"""What surrounds the engine: messages to tokens, and tokens to text, reasoning and tool calls."""
