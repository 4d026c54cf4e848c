"""The first day of a sysadmin: breakages of Debian hosts with the package, and when Postward names each."""
