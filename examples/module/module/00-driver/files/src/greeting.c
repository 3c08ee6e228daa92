// SPDX-License-Identifier: GPL-2.0
#include <linux/init.h>
#include <linux/module.h>

static char *text = "hello";
module_param(text, charp, 0644);
MODULE_PARM_DESC(text, "what it says");

static int __init greeting_init(void)
{
	pr_info("greeting: %s\n", text);
	return 0;
}

static void __exit greeting_exit(void)
{
}

module_init(greeting_init);
module_exit(greeting_exit);
MODULE_DESCRIPTION("Says something");
MODULE_LICENSE("GPL");
