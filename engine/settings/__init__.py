"""What the daemon is told: keys and their rules, the file, and the policy that follows."""
