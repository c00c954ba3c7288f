"""What calls came to: usage, funds and organizers, as rows, files and charts."""
