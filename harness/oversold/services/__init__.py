"""What is known of somebody's running HTTP service: how it is asked, what it answers, where its truth is."""
