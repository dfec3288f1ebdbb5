"""What devices record of their requests and of themselves: mergeable values, without numpy."""
