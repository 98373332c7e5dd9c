//! The HTTP face over services in memory and a scripted model. One binary; a module a family of routes.




mod document;






mod permissions;



