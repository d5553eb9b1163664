"""OCI image layouts: a folder, or the same in a tar archive. Models under reference names, blobs by their digest."""
