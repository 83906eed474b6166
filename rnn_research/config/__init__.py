"""From a composed config to live objects."""
