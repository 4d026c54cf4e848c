"""What a .deb and an .rpm say of themselves and of the libraries that they contain: `systemd/package/build` calls it."""
